"""Names of Keras_insightface that this package has under other names, one file a module of old.

`flat_names` shows them in the modules that notebooks import: `data.Triplet_dataset`, `myCallbacks.basic_callbacks`.
"""
