"""The trainer: prices in, a model bundle out, logged and registered in MLflow."""
