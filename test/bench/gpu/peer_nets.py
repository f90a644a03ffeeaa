"""The networks of peers.py in PyTorch, in half precision with random weights, as their authors write them for speed: attention by
scaled_dot_product_attention, images channels last, of a mixture only the chosen experts' weights gathered."""
import torch
from torch import nn
from torch.nn import functional as F


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


class BertLayer(nn.Module):
    def __init__(self, width=768, inner=3072):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

    def forward(self, x):
        q, k, v = (heads(p, 12) for p in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = self.norm1(x + self.out(y))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, width=768):
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(30522, width), nn.Embedding(512, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(BertLayer(width) for _ in range(12))
        self.pooler = nn.Linear(width, width)

    def forward(self, ids, types):
        x = self.norm(self.words(ids) + self.positions.weight[:ids.shape[1]] + self.types(types))
        for layer in self.layers:
            x = layer(x)
        return x, torch.tanh(self.pooler(x[:, 0]))


class GptLayer(nn.Module):
    def __init__(self, width=768):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, key, value):
        q, k, v = (heads(p, 12) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        k, v = torch.cat([key, k], 2), torch.cat([value, v], 2)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")), k, v


class Gpt2(nn.Module):
    """A step: logits, and keys and values with those of the new token."""

    def __init__(self, width=768):
        super().__init__()
        self.words, self.positions = nn.Embedding(50257, width), nn.Embedding(1024, width)
        self.layers, self.norm = nn.ModuleList(GptLayer(width) for _ in range(12)), nn.LayerNorm(width)

    def forward(self, ids, positions, *past):
        x, present = self.words(ids) + self.positions(positions), []
        for i, layer in enumerate(self.layers):
            x, k, v = layer(x, past[2 * i], past[2 * i + 1])
            present += [k, v]
        return (F.linear(self.norm(x), self.words.weight), *present)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)


class MixtureLayer(nn.Module):
    def __init__(self, width=384, inner=768, experts=8):
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.q, self.kv, self.out = (nn.Linear(width, n, bias=False) for n in (width, 256, width))
        self.router = nn.Linear(width, experts, bias=False)
        self.gate, self.up, self.down = (nn.Parameter(torch.randn(experts, *s) * 0.04) for s in ((inner, width), (inner, width), (width, inner)))

    @staticmethod
    def rotate(x, cos, sin):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def forward(self, x, cos, sin, key, value):
        n = self.norm1(x)
        q, (k, v) = heads(self.q(n), 6), (heads(p, 2) for p in self.kv(n).chunk(2, -1))
        k, v = torch.cat([key, self.rotate(k, cos, sin)], 2), torch.cat([value, v], 2)
        y = F.scaled_dot_product_attention(self.rotate(q, cos, sin), k, v, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        n = self.norm2(x)
        weights, chosen = torch.topk(F.softmax(self.router(n[0, 0]), -1), 2)
        weights = weights / weights.sum()
        row = n[0, 0]
        inner = F.silu(torch.einsum("eoi,i->eo", self.gate[chosen], row)) * torch.einsum("eoi,i->eo", self.up[chosen], row)
        return x + (weights @ torch.einsum("eoi,ei->eo", self.down[chosen], inner))[None, None], k, v


class Mixture(nn.Module):
    def __init__(self, width=384):
        super().__init__()
        self.words, self.head, self.norm = nn.Embedding(16000, width), nn.Linear(width, 16000, bias=False), RmsNorm(width)
        self.layers = nn.ModuleList(MixtureLayer(width) for _ in range(4))
        self.register_buffer("frequencies", 10000.0 ** (-torch.arange(32) / 32))

    def forward(self, ids, positions, *past):
        x, present = self.words(ids), []
        angles = (positions[..., None] * self.frequencies)[:, None]
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for i, layer in enumerate(self.layers):
            x, k, v = layer(x, cos, sin, past[2 * i], past[2 * i + 1])
            present += [k, v]
        return (self.head(self.norm(x)), *present)


def network(name, batch):
    """The network and its inputs."""
    half = {"device": "cuda", "dtype": torch.float16}
    ids = lambda *shape: torch.randint(0, 1000, shape, device="cuda")
    if name == "resnet50":
        import torchvision
        net, inputs = torchvision.models.resnet50(), [torch.randn(batch, 3, 224, 224, **half).to(memory_format=torch.channels_last)]
        return net.to(**half, memory_format=torch.channels_last).eval(), inputs
    if name == "bert_base":
        net, inputs = Bert(), [ids(batch, 128), torch.zeros(batch, 128, dtype=torch.int64, device="cuda")]
    elif name == "gpt2":
        net, inputs = Gpt2(), [ids(1, 1), torch.full((1, 1), 128, device="cuda"), *(torch.randn(1, 12, 128, 64, **half) for _ in range(24))]
    else:
        net, inputs = Mixture(), [ids(1, 1), torch.full((1, 1), 128, device="cuda"), *(torch.randn(1, 2, 128, 64, **half) for _ in range(8))]
    return net.to(**half).eval(), inputs
