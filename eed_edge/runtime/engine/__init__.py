"""Inference: sessions, the early-exit cascade, single images, streams, the single file."""
