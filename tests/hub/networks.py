"""KerasHub's networks with batch norms, as small as their classes allow, and without dropout."""

import keras
import keras_hub

SIZE = 32
IMAGE = (SIZE, SIZE, 3)
_HUB = keras_hub.models


def resnet(**options):
    return _HUB.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=IMAGE,
        **options,
    )


def resnet_of_four_stages():
    return _HUB.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8, 8, 8],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        use_pre_activation=True,
        image_shape=(2 * SIZE, 2 * SIZE, 3),
    )


def densenet():
    return _HUB.DenseNetBackbone(stackwise_num_repeats=[1, 1, 1], growth_rate=4, image_shape=IMAGE)


def efficientnet(**options):
    return _HUB.EfficientNetBackbone(
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 8],
        stackwise_expansion_ratios=[1, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.25],
        stackwise_strides=[1, 2],
        stackwise_block_types=["fused", "unfused"],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        dropout=0.0,
        input_shape=IMAGE,
        **options,
    )


def cspnet():
    return _HUB.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=2,
        stackwise_depth=[1, 1],
        stackwise_strides=[1, 2],
        stackwise_num_filters=[8, 16],
        block_type="dark_block",
        stage_type="csp",
        bottle_ratio=[0.5],
        block_ratio=[0.5],
        expand_ratio=[1.0],
        image_shape=IMAGE,
    )


def mobilenet():
    return _HUB.MobileNetBackbone(
        stackwise_expansion=[[8], [16, 16]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[8], [8, 8]],
        stackwise_kernel_size=[[3], [3, 3]],
        stackwise_num_strides=[[2], [2, 1]],
        stackwise_se_ratio=[[None], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [1, 1]],
        output_num_filters=16,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=True,
        last_layer_filter=8,
        squeeze_and_excite=0.5,
        input_num_filters=8,
        image_shape=IMAGE,
    )


def xception():
    return _HUB.XceptionBackbone(
        stackwise_conv_filters=[[8], [8, 16], [16]],
        stackwise_pooling=[False, True, False],
        image_shape=IMAGE,
    )


def hgnetv2():
    return _HUB.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[16, 16],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 16, 1, 1, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        image_shape=IMAGE,
    )


def mobilenetv5():
    return _HUB.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir"]],
        stackwise_num_blocks=[1, 1],
        stackwise_num_filters=[[8], [8]],
        stackwise_strides=[[2], [2]],
        stackwise_act_layers=[["relu"], ["relu"]],
        stackwise_exp_ratios=[[2.0], [2.0]],
        stackwise_se_ratios=[[0.0], [0.0]],
        stackwise_dw_kernel_sizes=[[0], [3]],
        stackwise_dw_start_kernel_sizes=[[0], [0]],
        stackwise_dw_end_kernel_sizes=[[0], [0]],
        stackwise_exp_kernel_sizes=[[3], [0]],
        stackwise_pw_kernel_sizes=[[1], [0]],
        stackwise_num_heads=[[0], [0]],
        stackwise_key_dims=[[0], [0]],
        stackwise_value_dims=[[0], [0]],
        stackwise_kv_strides=[[0], [0]],
        stackwise_use_cpe=[[False], [False]],
        use_msfa=False,
        stem_size=8,
        num_features=16,
        norm_layer="batch_norm",
        image_shape=IMAGE,
    )


def segformer():
    encoder = _HUB.MiTBackbone(
        image_shape=IMAGE,
        num_layers=2,
        hidden_dims=[8, 16],
        layerwise_depths=[1, 1],
        layerwise_num_heads=[1, 1],
        layerwise_sr_ratios=[2, 1],
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        max_drop_path_rate=0.0,
    )
    for part in encoder._flatten_layers():
        if isinstance(part, keras.layers.Dropout):
            part.rate = 0.0
    return _HUB.SegFormerBackbone(image_encoder=encoder, projection_filters=8)


def deeplab():
    return _HUB.DeepLabV3Backbone(
        image_encoder=resnet(),
        spatial_pyramid_pooling_key="P4",
        upsampling_size=4,
        dilation_rates=[2],
        low_level_feature_key="P2",
        projection_filters=8,
        image_shape=IMAGE,
    )


def retinanet():
    return _HUB.RetinaNetBackbone(
        image_encoder=resnet_of_four_stages(),
        min_level=4,
        max_level=5,
        use_p5=False,
        use_fpn_batch_norm=True,
        image_shape=(2 * SIZE, 2 * SIZE, 3),
    )


def resnet_classifier():
    return _HUB.ResNetImageClassifier(backbone=resnet(use_pre_activation=True), num_classes=3)


def densenet_classifier():
    """With a preprocessor, which is a part of the model: it takes pictures of another size."""
    return _HUB.DenseNetImageClassifier(
        backbone=densenet(),
        num_classes=3,
        preprocessor=_HUB.DenseNetImageClassifierPreprocessor(
            keras_hub.layers.DenseNetImageConverter(image_size=IMAGE[:2], scale=1 / 2)
        ),
    )


def mobilenet_classifier():
    return _HUB.MobileNetImageClassifier(backbone=mobilenet(), num_classes=3)


def deeplab_segmenter():
    return _HUB.DeepLabV3ImageSegmenter(backbone=deeplab(), num_classes=3)


def retinanet_detector():
    return _HUB.RetinaNetObjectDetector(
        backbone=retinanet(),
        num_classes=3,
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )


NETWORKS = {
    each.__name__: each
    for each in (
        resnet,
        densenet,
        efficientnet,
        cspnet,
        mobilenet,
        xception,
        hgnetv2,
        mobilenetv5,
        segformer,
        deeplab,
        retinanet,
        resnet_classifier,
        densenet_classifier,
        mobilenet_classifier,
        deeplab_segmenter,
        retinanet_detector,
    )
}
