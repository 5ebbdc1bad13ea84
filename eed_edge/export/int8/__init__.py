"""Sub-models in int8: quantised ONNX files, and torch copies of them that attacks can see through."""
