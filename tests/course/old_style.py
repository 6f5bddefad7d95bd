"""A word model and a translator with attention as tutorials wrote them for the first versions of
PyTorch: Variable, FloatTensor and LongTensor, softmax without dim, results through .data."""

import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.autograd import Variable

warnings.simplefilter("ignore")
dtype = torch.FloatTensor
torch.manual_seed(1)

sentences = ["i like dog", "i love coffee", "i hate milk"]
words = sorted(set(" ".join(sentences).split()))
number = {w: i for i, w in enumerate(words)}
inputs = Variable(torch.LongTensor([[number[n] for n in s.split()[:-1]] for s in sentences]))
targets = Variable(torch.LongTensor([number[s.split()[-1]] for s in sentences]))
print(type(inputs), inputs.type(), inputs.size(), isinstance(inputs, torch.LongTensor))


class Words(nn.Module):
    def __init__(self, count, wide=4, hidden=3):
        super().__init__()
        self.wide = wide
        self.C = nn.Embedding(count, wide)
        self.H = nn.Parameter(torch.randn(2 * wide, hidden).type(dtype))
        self.W = nn.Parameter(torch.randn(2 * wide, count).type(dtype))
        self.d = nn.Parameter(torch.randn(hidden).type(dtype))
        self.U = nn.Parameter(torch.randn(hidden, count).type(dtype))
        self.b = nn.Parameter(torch.randn(count).type(dtype))

    def forward(self, X):
        X = self.C(X).view(-1, 2 * self.wide)
        return (
            self.b
            + torch.mm(X, self.W)
            + torch.mm(torch.tanh(self.d + torch.mm(X, self.H)), self.U)
        )


model = Words(len(words))
criterion = nn.CrossEntropyLoss(size_average=True)
optimizer = optim.Adam(model.parameters(), lr=0.02)
for epoch in range(60):
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    if (epoch + 1) % 20 == 0:
        print("Epoch:", f"{epoch + 1:04d}", "cost =", f"{loss.item():.5f}")
    loss.backward()
    optimizer.step()
predicted = model(inputs).data.max(1, keepdim=True)[1]
print([words[n.item()] for n in predicted.squeeze()])


class Attention(nn.Module):
    def __init__(self, classes, hidden=6):
        super().__init__()
        self.hidden = hidden
        self.enc = nn.RNN(input_size=classes, hidden_size=hidden, dropout=0)
        self.dec = nn.RNN(input_size=classes, hidden_size=hidden, dropout=0)
        self.attn = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden * 2, classes)

    def weights(self, dec_output, enc_outputs):
        scores = torch.zeros(len(enc_outputs))
        for i in range(len(enc_outputs)):
            score = self.attn(enc_outputs[i])
            scores[i] = torch.dot(dec_output.squeeze(0).view(-1), score.view(-1))
        return torch.nn.functional.softmax(scores).view(1, 1, -1)

    def forward(self, enc_inputs, hidden, dec_inputs):
        enc_inputs, dec_inputs = enc_inputs.transpose(0, 1), dec_inputs.transpose(0, 1)
        enc_outputs, hidden = self.enc(enc_inputs, hidden)
        steps = len(dec_inputs)
        found = torch.empty([steps, 1, dec_inputs.size(2)])
        looks = []
        for i in range(steps):
            dec_output, hidden = self.dec(dec_inputs[i].unsqueeze(0), hidden)
            w = self.weights(dec_output, enc_outputs)
            looks.append(w.squeeze().data.numpy())
            context = w.bmm(enc_outputs.transpose(0, 1)).squeeze(1)
            found[i] = self.out(torch.cat((dec_output.squeeze(0), context), 1))
        return found.transpose(0, 1).squeeze(0), looks


pair = ["ich mochte ein bier P", "S i want a beer", "i want a beer E"]
names = sorted(set(" ".join(pair).split()))
ids = {w: i for i, w in enumerate(names)}
source = Variable(dtype(np.eye(len(names))[[[ids[n] for n in pair[0].split()]]]))
start = Variable(dtype(np.eye(len(names))[[[ids[n] for n in pair[1].split()]]]))
goal = Variable(torch.LongTensor([[ids[n] for n in pair[2].split()]]))
hidden = Variable(torch.zeros(1, 1, 6))
model = Attention(len(names))
optimizer = optim.Adam(model.parameters(), lr=0.01)
for epoch in range(40):
    optimizer.zero_grad()
    output, _ = model(source, hidden, start)
    loss = nn.CrossEntropyLoss()(output, goal.squeeze(0))
    if (epoch + 1) % 10 == 0:
        print("Epoch:", f"{epoch + 1:04d}", "cost =", f"{loss:.5f}")
    loss.backward()
    optimizer.step()
predicted, looks = model(source, hidden, Variable(dtype(np.eye(len(names))[[[ids["S"]] * 5]])))
print([names[n.item()] for n in predicted.data.max(1, keepdim=True)[1].squeeze()])
print(np.round(looks[0], 3))
x = torch.Tensor(2, 3).fill_(1)
print(x.type(torch.IntTensor), x.new(2).zero_(), torch.ByteTensor([1, 0]).type())
x.resize_(3, 2)
print(x.t().contiguous().view(-1), torch.functional.F.softmax(x, 1)[0])
