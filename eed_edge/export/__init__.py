"""From trained members to a calibrated bundle of ONNX files."""
