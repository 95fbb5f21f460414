"""Named outputs and labels → one value per sample: one family of losses a file. `losses` is their door."""
