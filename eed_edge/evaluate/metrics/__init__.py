"""Figures beside accuracy: curves, shifted images, parity with torch, model cost."""
