"""The public surface of Keras_insightface: what notebooks written for it import, with their arguments and defaults.

A line is a signature; `REFUSED` are the names that say what takes their place once they are called.
"""

SIGNATURES = {
    "train": """
Train(data_path, save_path, eval_paths=[], basic_model=None, model=None, compile=True, output_weight_decay=1, custom_objects={}, pretrained=None, batch_size=128, lr_base=0.001, lr_decay=0.05, lr_decay_steps=0, lr_min=1e-06, lr_warmup_steps=0, eval_freq=1, random_status=0, random_cutout_mask_area=0.0, image_per_class=0, samples_per_mining=0, mixup_alpha=0, partial_fc_split=0, teacher_model_interf=None, sam_rho=0, vpl_start_iters=-1, vpl_allowed_delta=200, steps_per_execution=None)
Train.train(self, train_schedule, initial_epoch=0)
Train.train_single_scheduler(self, epoch, loss=None, initial_epoch=0, lossWeight=1, optimizer=None, bottleneckOnly=False, lossTopK=1, type=None, embLossTypes=None, embLossWeights=1, tripletAlpha=0.35)
Train.reset_dataset(self, data_path=None)
""",
    "losses": """
MarginSoftmax(power=2, scale=0.4, scale_all=1.0, from_logits=False, label_smoothing=0)
ArcfaceLoss(margin1=1.0, margin2=0.5, margin3=0.0, scale=64.0, from_logits=True, label_smoothing=0)
ArcfaceLossSimple(margin=0.5, scale=64.0, from_logits=True, label_smoothing=0)
CurricularFaceLoss(margin=0.5, scale=64.0, from_logits=True, label_smoothing=0, hard_scale=0)
AirFaceLoss(margin=0.4)
CosFaceLoss(margin=0.35)
MagFaceLoss(min_feature_norm=10.0, max_feature_norm=110.0, min_margin=0.45, max_margin=0.8, scale=64.0, regularizer_loss_lambda=35.0, use_cosface_margin=False, curricular_hard_scale=-1)
AdaFaceLoss(margin=0.4, margin_alpha=0.333, mean_std_alpha=0.01, scale=64.0)
AdaCosLoss(num_classes=1000, scale=0, max_median=0.7853981633974483)
AcrTripLoss(margin=0.5, scale=64.0)
Save_Numpy_Callback(save_file, save_tensor)
CenterLoss(num_classes, emb_shape=512, alpha=0.5, initial_file=None)
CenterLossCosine(num_classes, emb_shape=512, alpha=0.5, initial_file=None)
TripletLossWapper(alpha=0.35)
BatchHardTripletLoss(alpha=0.35)
BatchHardTripletLossEuclidean(alpha=0.35)
BatchAllTripletLoss(alpha=0.35)
OfflineTripletLoss(alpha=0.35)
ArcBatchHardTripletLoss(alpha=0.35)
OfflineArcTripletLoss(alpha=0.35)
BatchHardTripletLossEuclideanAutoAlpha(alpha=0.1, init_auto_alpha=1)
distiller_loss_euclidean(true_emb, pred_emb)
distiller_loss_cosine(true_emb, pred_emb)
DistillKLDivergenceLoss(scale=10)
scale_softmax
""",
    "models": """
print_buildin_models()
buildin_models(stem_model, dropout=1, emb_shape=512, input_shape=(112, 112, 3), output_layer='GDC', bn_momentum=0.99, bn_epsilon=0.001, add_pointwise_conv=False, pointwise_conv_act='relu', use_bias=False, scale=True, weights='imagenet')
NormDense(units=1000, kernel_regularizer=None, loss_top_k=1, append_norm=False, partial_fc_split=0)
NormDenseVPL(batch_size, units=1000, kernel_regularizer=None, vpl_lambda=0.15, start_iters=8000, allowed_delta=200)
add_l2_regularizer_2_model(model, weight_decay, custom_objects={}, apply_to_batch_normal=False, apply_to_bias=False)
replace_ReLU_with_PReLU(model, target_activation='PReLU')
replace_add_with_stochastic_depth(model, survivals=(1, 0.8))
replace_stochastic_depth_with_add(model, drop_survival=False)
AconC(p1=1, p2=0, beta=1)
SAMModel
convert_to_mixed_float16(model, convert_batch_norm=False)
convert_mixed_float16_to_float32(model)
convert_to_batch_renorm(model)
""",
    "data": """
ImageClassesRule_map(dir, dir_rule='*', excludes=[])
pre_process_folder(data_path, image_names_reg=None, image_classes_rule=None)
tf_imread(file_path)
RandomProcessImage(img_shape=(112, 112), random_status=2, random_crop=None, random_cutout_mask_area=0)
random_cutout_or_cutout_mask(image, image_shape, random_cutout_mask_area=0.3, random_cutout=0, pad_size=20, replace=128)
sample_beta_distribution(size, concentration_0=0.4, concentration_1=0.4)
mixup(image, label, alpha=0.4)
pick_by_image_per_class(image_classes, image_per_class)
MXNetRecordGen
show_batch_sample(ds, rows=8, basic_size=1)
partial_fc_split_pick
partial_fc_split_gen
build_basic_dataset_from_tfrecord
build_basic_dataset_from_data_path
prepare_dataset(data_path, image_names_reg=None, image_classes_rule=None, batch_size=128, img_shape=(112, 112), random_status=0, random_crop=(100, 100, 3), random_cutout_mask_area=0.0, mixup_alpha=0, image_per_class=0, partial_fc_split=0, cache=False, shuffle_buffer_size=None, is_train=True, teacher_model_interf=None)
prepare_distill_dataset_tfrecord(data_path, batch_size=128, img_shape=(112, 112), random_status=2, random_crop=(100, 100, 3))
Triplet_dataset(data_path, image_names_reg=None, image_classes_rule=None, batch_size=48, image_per_class=4, img_shape=(112, 112, 3), random_status=3, random_crop=(100, 100, 3), teacher_model_interf=None)
Triplet_dataset_offline
""",
    "evals": """
eval_callback(basic_model, test_bin_file, batch_size=128, save_model=None, eval_freq=1, flip=True, PCA_acc=False)
evaluate(embeddings, actual_issame, nrof_folds=10, pca=0)
calculate_roc(thresholds, embeddings1, embeddings2, actual_issame, nrof_folds=10, pca=0)
calculate_val(thresholds, embeddings1, embeddings2, actual_issame, far_target, nrof_folds=10)
calculate_accuracy(threshold, dist, actual_issame)
calculate_val_far(threshold, dist, actual_issame)
half_split_weighted_cosine_similarity
half_split_weighted_cosine_similarity_11
""",
    "myCallbacks": """
Gently_stop_callback(prompt='Continue? ([Y]/n)', time_out=3)
ExitOnNaN()
My_history(initial_file=None, evals=[])
VPLUpdateQueue
OptimizerWeightDecay(lr_base, wd_base, is_lr_on_batch=False)
CosineLrSchedulerEpoch(lr_base, first_restart_step, m_mul=0.5, t_mul=2.0, lr_min=1e-06, lr_warmup=-1, warmup_steps=0, cooldown_steps=1)
CosineLrScheduler(lr_base, first_restart_step, steps_per_epoch=-1, m_mul=0.5, t_mul=2.0, lr_min=1e-05, lr_warmup=-1, warmup_steps=0, cooldown_steps=1)
ConstantDecayScheduler(lr_base, lr_decay_steps, decay_rate=0.1)
exp_scheduler(epoch, lr_base, decay_rate=0.05, lr_min=0, warmup_steps=0)
constant_scheduler(epoch, lr_base, lr_decay_steps, decay_rate=0.1, warmup_steps=0)
basic_callbacks(checkpoint='keras_checkpoints.h5', evals=[], lr=0.001, lr_decay=0.05, lr_min=0, lr_decay_steps=0, lr_warmup_steps=0)
""",
    "plot": """
EVALS_NAME
hist_plot(loss_lists, accuracy_lists, customs_dict, loss_names=None, save=None, axes=None, init_epoch=0, pre_item={}, fig_label=None, eval_split=True, limit_loss_max=1e9)
hist_plot_split(history, epochs=[100], names=None, customs=['lfw', 'cfp_fp', 'agedb_30', 'lr'], save=None, axes=None, init_epoch=0, pre_item={}, fig_label=None, eval_split=True, limit_loss_max=1e9, skip_epochs=0)
choose_accuracy(aa, skip_name_len=0, sort_metric=False, metric_key='agedb_30', key_picks=['lfw', 'cfp_fp', 'agedb_30', 'IJBB', 'IJBC'])
set_colors(max_color, palette='deep')
set_scale(scale)
peak_scatter
arrays_plot
""",
    "augment": """
RandAugment(num_layers=2, magnitude=10.0, cutout_const=40.0, translate_const=100.0)
RandAugment.distort
AutoAugment(augmentation_name='v0', policies=None, cutout_const=100, translate_const=250)
AutoAugment.distort
cutout(image, pad_size, replace=0)
translate_x
translate_y
rotate
shear_x
shear_y
solarize
solarize_add
posterize
color
contrast
brightness
sharpness
equalize
invert
autocontrast
blend
""",
    "backbones.resnet": "".join(
        f"\nResNet{n}(input_shape, classes=1000, activation='relu', use_se=False, use_max_pool=False)"
        for n in (18, 34, 50, 100, 101)
    ),
    "backbones.mobile_facenet": """
mobile_facenet(emb_shape=256)
MobileFaceNet(num_blocks=[5,1,6,1,2], out_channels=[64,128,128,128,128], strides=[2,2,1,2,1], expand_ratios=[2,4,2,4,2], use_se=False, emb_shape=256, input_shape=(112,112,3), dropout=0, pretrained=None, include_top=False, name='mobile_facenet')
""",
    "backbones.ghost_model": """
GhostNet(input_shape=(224,224,3), include_top=True, classes=0, width=1.3, strides=2, name='GhostNet')
""",
    "backbones.vargface": """
VargFace(num_blocks=[3,7,4], out_channels=[64,128,256], channel_expand=1, hidden_ratio=2, stem_width=32, stem_strides=1, se_ratio=0, input_shape=(112,112,3), activation='relu', output_num_features=1024, model_name='vargface')
""",
    "backbones.mobilenet_m1": """
MobileNet
""",
    "backbones.efficientnet": "".join(f"\nEfficientNetB{n}" for n in range(8)) + "\nEfficientNetL2",
    "prepare_data": "",
    "IJB_evals": """
IJB_test(model_file, data_path, subset, batch_size=64, force_reload=False, restore_embs=None)
IJB_test.run_model_test_single(self, use_flip_test=True, use_norm_score=False, use_detector_score=True)
IJB_test.run_model_test_bunch(self)
IJB_test.run_model_test_1N(self, npoints=100)
plot_roc_and_calculate_tpr(scores, names=None, label=None)
plot_dir_far_cmc_scores(scores, names=None)
evaluation_1N(query_feats, gallery_feats, query_ids, reg_ids, fars=[0.01, 0.1])
""",
    "data_distiller": """
Data_distiller(data_path, model_file=None, dest_file=None, save_npz=False, batch_size=256, use_fp16=False, limit=-1, recover=False)
teacher_model_interf_wrapper(model_file)
""",
    "data_drop_top_k": """
data_drop_top_k(model, data_path, dest_file=None, deg_thresh=75, limit=0)
""",
    "eval_folder": """
Eval_folder(model_interf, data_path, batch_size=128, save_embeddings=None)
Eval_folder.do_evaluation(self)
Eval_folder.generate_eval_pair_bin(self, save_dest, pos_num=3000, neg_num=3000, min_pos=0, max_neg=1.0, nfold=10)
plot_tpr_far(score, label, new_figure=True, label_prefix='')
""",
    "face_detector": """
YoloV5FaceDetector(model_path, anchors, strides)
SCRFD(det_shape=640)
SCRFD.__call__(self, image, max_output_size=15, iou_threshold=0.45, score_threshold=0.25, image_format='RGB')
SCRFD.detect_in_image(self, image)
SCRFD.detect_in_folder(self, data_path)
SCRFD.show_result(self, image, bbs)
""",
    "image_video_test": """
FaceDetectorAndRecognizer(recognize_model='EfficientNetV2B0', known_users=None, batch_size=32, force_reload=False)
FaceDetectorAndRecognizer.compare_images(self)
FaceDetectorAndRecognizer.search_in_known_users(self)
FaceDetectorAndRecognizer.video_recognize(self)
FaceDetectorAndRecognizer.draw_polyboxes_on_image(image)
""",
}  # fmt: skip
REFUSED = {
    "models.SAMModel", "data.MXNetRecordGen", "data.partial_fc_split_pick", "data.partial_fc_split_gen",
    "data.build_basic_dataset_from_tfrecord", "data.build_basic_dataset_from_data_path", "data.Triplet_dataset_offline",
    "evals.half_split_weighted_cosine_similarity", "evals.half_split_weighted_cosine_similarity_11", "myCallbacks.VPLUpdateQueue",
}  # fmt: skip
# arguments whose default is another on purpose, see CHANGELOG
OTHER_DEFAULTS = {
    "AdaCosLoss.num_classes", "CenterLoss.emb_shape", "CenterLossCosine.emb_shape", "buildin_models.weights",
    "hist_plot_split.customs", "choose_accuracy.key_picks",
}  # fmt: skip
