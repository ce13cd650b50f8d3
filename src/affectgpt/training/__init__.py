"""What training needs beside the model: the optimiser's groups and schedule, and sharding."""
