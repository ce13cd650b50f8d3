"""Still pictures, and the scaling of frames."""
