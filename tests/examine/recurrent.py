"""Odd networks with recurrent layers; ``odd.BLOCKS`` has the first, and the second cannot be followed."""

from torch import Tensor, nn

from tests.examine.coverage import conv_norm


class LstmBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows, _ = self.lstm(self.before(x).permute(0, 2, 3, 1).reshape(n, h * w, c))
        return self.after(rows.transpose(1, 2).reshape(n, -1, h, w))


class LongGruBlock(nn.Module):
    """So many steps that torch-pruning stops following the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = conv_norm(width, width), conv_norm(width, width)
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        steps = self.before(x).permute(0, 2, 3, 1).reshape(n, h * w, c).repeat_interleave(6, 1)
        rows = self.gru(steps)[0][:, ::6]
        return self.after(rows.transpose(1, 2).reshape(n, -1, h, w))
