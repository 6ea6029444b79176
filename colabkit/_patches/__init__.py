"""Patches of Keras and TensorFlow, one file each: the upstream issue, the versions, the probe."""
