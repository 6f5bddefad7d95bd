"""Sentences of different length tagged by a bidirectional LSTM on packed sequences, and translated
by PyTorch's own Transformer with its masks."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

torch.manual_seed(11)
lengths = [5, 7, 2, 4]
sentences = [torch.randint(1, 9, (n,)) for n in lengths]
tags = [s % 3 for s in sentences]
x = pad_sequence(sentences, batch_first=True)
y = pad_sequence(tags, batch_first=True, padding_value=-1)
print(x.shape, y[2])


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(9, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(10, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.emb(x), lengths, batch_first=True, enforce_sorted=False)
        out, (h, c) = self.lstm(packed)
        out, found = pad_packed_sequence(out, batch_first=True)
        return self.out(out), h, found


model = Tagger()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.02)
for epoch in range(12):
    optimizer.zero_grad()
    logits, h, found = model(x, torch.tensor(lengths))
    loss = F.cross_entropy(logits.reshape(-1, 3), y.reshape(-1), ignore_index=-1)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    if epoch % 4 == 3:
        print(f"epoch {epoch} loss {loss.item():.4f} norm {norm:.4f} {found.tolist()}")
print(h.shape, h[:, 2, 0])


class Positions(nn.Module):
    def __init__(self, d_model, max_len=50):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class Translator(nn.Module):
    def __init__(self, tokens=9, d=8):
        super().__init__()
        self.d = d
        self.src, self.tgt = nn.Embedding(tokens, d), nn.Embedding(tokens, d)
        self.pos = Positions(d)
        self.transformer = nn.Transformer(d, 2, 2, 1, dim_feedforward=16, dropout=0.0)
        self.out = nn.Linear(d, tokens)

    def forward(self, source, target, padding):
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(0))
        a = self.pos(self.src(source) * math.sqrt(self.d))
        b = self.pos(self.tgt(target) * math.sqrt(self.d))
        out = self.transformer(
            a, b, tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding
        )
        return self.out(out)


source = x.t()
padding = x == 0
target = source.flip(0)
model = Translator()
print(sum(p.numel() for p in model.parameters()))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.98), eps=1e-9)
scheduler = torch.optim.lr_scheduler.LambdaLR(
    optimizer, lambda step: min((step + 1) ** -0.5, (step + 1) * 5**-1.5)
)
for step in range(8):
    logits = model(source, target[:-1], padding)
    loss = F.cross_entropy(logits.reshape(-1, 9), target[1:].reshape(-1), label_smoothing=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    scheduler.step()
    print(f"step {step} loss {loss.item():.4f} rate {scheduler.get_last_lr()[0]:.5f}")
layer = nn.TransformerEncoderLayer(
    8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
)
encoder = nn.TransformerEncoder(layer, num_layers=2)
print(encoder(torch.ones(1, 3, 8), src_key_padding_mask=torch.tensor([[False, False, True]]))[0, 0])
