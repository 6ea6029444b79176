"""The services: Google, Kaggle, Drive. Their errors are translated here."""
