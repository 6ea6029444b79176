"""Resumable uploads, one file a service."""
