"""A double of google.colab, which is on no index: its messages, its errors and its secrets, as they are on the wire.

Put the folder `tests/doubles/colab` on `sys.path` of a kernel that runs with
`--IPKernelApp.kernel_class=google.colab._kernel.Kernel`.
"""
