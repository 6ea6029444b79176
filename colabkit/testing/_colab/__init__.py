"""What `FakeColab` is made of: a kernel, and the page before it."""
