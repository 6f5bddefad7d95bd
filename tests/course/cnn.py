"""Pictures of bars and crosses told apart by a small convolutional network, trained as tutorials
train on digits: batches, batch norm, pooling, a schedule that waits for a plateau, saving."""

import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, random_split

torch.manual_seed(3)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Shapes(Dataset):
    def __init__(self, count, side=12):
        self.x = 0.3 * torch.randn(count, 1, side, side)
        self.y = torch.arange(count) % 3
        for i in range(count):
            at = 2 + int(torch.randint(side - 4, (1,)))
            if self.y[i] != 1:
                self.x[i, 0, at, 2:-2] += 1
            if self.y[i] != 0:
                self.x[i, 0, 2:-2, at] += 1

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, bias=False)
        self.features = nn.Sequential(self.conv2, nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2, 2)
        self.average = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout2d(0.0)
        self.fc = nn.Linear(8, 3)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.dropout(self.features(x))
        x = torch.flatten(self.average(x), 1)
        return F.log_softmax(self.fc(x), dim=1)


def test(model, loader):
    model.eval()
    loss = correct = 0
    with torch.no_grad():
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return loss / len(loader.dataset), correct


train_set, test_set = random_split(Shapes(96), [72, 24])
train_loader = DataLoader(train_set, batch_size=12, shuffle=True)
test_loader = DataLoader(test_set, batch_size=24)
model = Net().to(device)
print(model)
print(sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
plateau = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=1, threshold=0.2)
step = StepLR(optimizer, step_size=3, gamma=0.7)
for epoch in range(1, 7):
    model.train()
    for _i, (data, target) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = F.nll_loss(model(data.to(device)), target.to(device))
        loss.backward()
        optimizer.step()
    found, correct = test(model, test_loader)
    plateau.step(found)
    step.step()
    rate = optimizer.param_groups[0]["lr"]
    print(f"epoch {epoch}: loss {loss.item():.4f} test {found:.4f} {correct}/24 rate {rate:.4f}")

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "net.pt")
    torch.save(model.state_dict(), path)
    again = Net()
    again.load_state_dict(torch.load(path))
    print("{:.4f} {}".format(*test(again, test_loader)))
x = test_set[0][0].unsqueeze(0)
print(F.conv2d(x, model.conv1.weight, padding=1)[0, 0, 5, :4])
print(F.interpolate(x, scale_factor=2, mode="nearest").shape, F.avg_pool2d(x, 4)[0, 0, 0])
print(F.unfold(x, 3, stride=3).shape, F.max_pool2d(x, 3, return_indices=True)[1][0, 0, 0])
