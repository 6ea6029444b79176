"""What `FakeGCS` answers: requests, routes, uploads."""
