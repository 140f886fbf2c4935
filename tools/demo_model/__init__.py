"""The bundled demo model: a small BitNet b1.58 transformer trained on generated stories."""
