"""Further figures: curves, shifted images, parity with torch, model cost."""
