"""What training needs besides the model: optimiser, sharding, and callbacks that keep a run safe and resumable."""
