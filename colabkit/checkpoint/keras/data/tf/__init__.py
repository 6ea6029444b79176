"""What continues a `tf.data` pipeline: its graph, its seeds, its variables, its caches."""
