"""A double of google.colab, which is on no index: its messages, its errors and its words, as they are on the wire.

`colabkit.testing.FakeColab` puts the folder `doubles/colab` on `sys.path` of a kernel that runs with
`--IPKernelApp.kernel_class=google.colab._kernel.Kernel`. It is written from what the real one does, not from its text.
"""

from google.colab import auth, drive, files, output

__all__ = ["auth", "drive", "files", "output"]
