"""What `model_pipeline.train` is made of. Imports TensorFlow."""
