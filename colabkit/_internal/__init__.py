"""Small tools that every layer may use; none of them knows what colabkit is for."""
