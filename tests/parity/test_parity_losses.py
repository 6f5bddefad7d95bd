"""Losses and distances beside PyTorch's: each reduction, weights, kinks, the former keywords, class
probabilities, layers, errors and warnings; values and the gradients of every input.

A line is Python in which R stands for a reduction; the inputs are those of the functions' tests.
"""

import warnings

import numpy as np
import pytest
from test_parity_nn_functional import close, observe

import tinygrad_lm as tg

torch = pytest.importorskip("torch")
BOTH = (torch, tg)

# Of x, y (4, 5); c, d (5,); u (2, 5, 3); z (2, 5, 3, 2); p in 0 ... 1; soft, softu probabilities.
SIGNS = "(bits * 2 - 1)"
EVERY_REDUCTION = f"""
F.l1_loss(x, y, reduction=R)
F.l1_loss(x, y, reduction=R, weight=p)
F.mse_loss(x, y, reduction=R)
F.mse_loss(x, y, reduction=R, weight=p)
F.mse_loss(c[0], d[0], reduction=R)
F.smooth_l1_loss(x, y, reduction=R)
F.smooth_l1_loss(x, y, reduction=R, beta=0.3)
F.smooth_l1_loss(x, y, reduction=R, beta=0.0)
F.smooth_l1_loss(torch.tensor([[1., -1., 0., 2., -0.5]]) + 0 * x, 0 * y, reduction=R)
F.huber_loss(x, y, reduction=R)
F.huber_loss(x, y, R, 0.4)
F.huber_loss(x, y, R, 2.0, weight=p)
F.huber_loss(torch.tensor([[1., -1., 0., 2., -0.5]]) + 0 * x, 0 * y, reduction=R)
F.kl_div(F.log_softmax(x, -1), soft, reduction=R)
F.kl_div(x, edgebits.expand(4, 5), reduction=R)
F.kl_div(F.log_softmax(x, -1), F.log_softmax(y, -1), reduction=R, log_target=True)
F.kl_div(F.log_softmax(u, 1), softu, reduction=R)
F.poisson_nll_loss(x, bits * 3, reduction=R)
F.poisson_nll_loss(x, bits * 3, full=True, reduction=R)
F.poisson_nll_loss(p, y.exp(), False, True, None, 1e-6, None, R)
F.gaussian_nll_loss(x, y, p, reduction=R)
F.gaussian_nll_loss(x, y, p, full=True, eps=0.4, reduction=R)
F.gaussian_nll_loss(x, y, p[:, 0], reduction=R)
F.gaussian_nll_loss(x, y, p[:, :1], reduction=R)
F.gaussian_nll_loss(x, y, p[:1], reduction=R)
F.gaussian_nll_loss(x, y, 0.7, reduction=R)
F.margin_ranking_loss(x, y, {SIGNS}, reduction=R)
F.margin_ranking_loss(x, y, {SIGNS}, 0.8, reduction=R)
F.margin_ranking_loss(0 * x, 0 * y, {SIGNS}, reduction=R)
F.hinge_embedding_loss(x, {SIGNS}, reduction=R)
F.hinge_embedding_loss(x, {SIGNS}, 0.2, reduction=R)
F.hinge_embedding_loss(x, bits, reduction=R)
F.cosine_embedding_loss(x, y, {SIGNS}[:, 0], reduction=R)
F.cosine_embedding_loss(x, y, {SIGNS}[:, 0], 0.3, reduction=R)
F.cosine_embedding_loss(c, d, torch.tensor(-1), reduction=R)
F.triplet_margin_loss(x, y, p, reduction=R)
F.triplet_margin_loss(x, y, p, 2.0, 1.0, 1e-3, True, reduction=R)
F.triplet_margin_loss(c, d, w[0], reduction=R)
F.triplet_margin_with_distance_loss(x, y, p, reduction=R)
F.triplet_margin_with_distance_loss(x, y, p, distance_function=F.pairwise_distance, reduction=R)
F.triplet_margin_with_distance_loss(x, y, p, margin=0.4, swap=True, reduction=R)
F.soft_margin_loss(x, {SIGNS}, reduction=R)
F.multilabel_soft_margin_loss(x, bits, reduction=R)
F.multilabel_soft_margin_loss(x, soft, cw, reduction=R)
F.multilabel_soft_margin_loss(c, bits[0], reduction=R)
F.multi_margin_loss(x, t32.long(), reduction=R)
F.multi_margin_loss(x, t32.long(), 2, 0.5, cw, reduction=R)
F.multi_margin_loss(c, torch.tensor(2), reduction=R)
F.multi_margin_loss(c, torch.tensor([2]), reduction=R)
F.multilabel_margin_loss(x, torch.tensor([[0, 4, -1, 2, 2], [-1] * 5, [1, 1, 2, -1, 0], [4, 3, 2, 1, 0]]), reduction=R)
F.multilabel_margin_loss(c, torch.tensor([3, 0, -1, -1, -1]), reduction=R)
F.cross_entropy(u, tu, cw, reduction=R, label_smoothing=0.1)
F.cross_entropy(z, tz, cw, reduction=R)
F.cross_entropy(x, soft, cw, reduction=R, label_smoothing=0.2)
F.cross_entropy(u, softu, cw, reduction=R)
F.cross_entropy(c, soft[0], reduction=R)
F.nll_loss(u, tu.abs() % 5, cw, ignore_index=2, reduction=R)
F.nll_loss(c, torch.tensor(3), reduction=R)
F.binary_cross_entropy(p, soft, cw, reduction=R)
F.binary_cross_entropy(p, soft, bits, reduction=R)
""".strip().splitlines()  # noqa: E501
ONCE = """
F.kl_div(x, soft, reduction="batchmean")
F.kl_div(x, y, reduction="batchmean", log_target=True)
F.kl_div(c[0], d[0].exp(), reduction="batchmean")
F.mse_loss(x, y, False)
F.mse_loss(x, y, None, False)
F.l1_loss(x, y, size_average=True)
F.smooth_l1_loss(x, y, size_average=False, reduce=True)
F.cross_entropy(x, t, cw, False)
F.cross_entropy(x, t32.long(), None, None, 4, False)
F.nll_loss(x, t, None, False)
F.binary_cross_entropy(p, bits, None, False)
F.binary_cross_entropy_with_logits(x, bits, None, False, None)
F.kl_div(x, soft, False)
F.kl_div(x, soft, reduction="batchmean", size_average=False)
F.hinge_embedding_loss(x, bits, 1.0, False)
F.cosine_similarity(x, y)
F.cosine_similarity(u, u.flip(0), dim=0)
F.cosine_similarity(x, c, dim=-1)
F.cosine_similarity(x * 1e-9, y)
F.cosine_similarity(x * 1e-3, y, eps=0.5)
F.pairwise_distance(x, y)
F.pairwise_distance(x, c, p=1.0, keepdim=True)
F.pairwise_distance(x, x.detach())
F.pairwise_distance(x, y, 3, 0.1)
F.mse_loss(x[:0], y[:0], reduction="sum")
F.mse_loss(x[:0], y[:0])
torch.nn.CrossEntropyLoss(cw, False)(x, t)
torch.nn.MSELoss(size_average=False)(x, y)
torch.nn.L1Loss(reduce=False)(x, y)
torch.nn.SmoothL1Loss(beta=0.5)(x, y)
torch.nn.HuberLoss("sum", 0.5)(x, y)
torch.nn.KLDivLoss(reduction="batchmean")(x, soft)
torch.nn.KLDivLoss(reduction="sum", log_target=True)(x, y)
torch.nn.PoissonNLLLoss(full=True)(x, bits)
torch.nn.GaussianNLLLoss(full=True, eps=0.1)(x, y, p)
torch.nn.MarginRankingLoss(0.5)(x, y, bits)
torch.nn.HingeEmbeddingLoss(0.5, reduction="sum")(x, bits)
torch.nn.CosineEmbeddingLoss(0.5)(x, y, bits[:, 0])
torch.nn.TripletMarginLoss(2.0, 1, swap=True)(x, y, p)
torch.nn.TripletMarginWithDistanceLoss(distance_function=torch.nn.PairwiseDistance(1))(x, y, p)
torch.nn.SoftMarginLoss()(x, bits)
torch.nn.MultiMarginLoss(2, weight=cw)(x, t32.long())
torch.nn.MultiLabelMarginLoss()(x, torch.tensor([[0, 4, -1, 2, 2]] * 4))
torch.nn.MultiLabelSoftMarginLoss(cw)(x, bits)
torch.nn.NLLLoss(cw, None, 4)(x, t32.long())
torch.nn.CosineSimilarity(0)(x, y)
torch.nn.PairwiseDistance(1.0, keepdim=True)(x, y)
torch.cosine_similarity(x, y, -1)
torch.pairwise_distance(x, y)
""".strip().splitlines()
LINES = ONCE + [
    line.replace("=R", f"={how!r}").replace(", R", f", {how!r}")
    for line in EVERY_REDUCTION
    for how in ("mean", "sum", "none")
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_line(line):
    theirs, mine = observe(torch, line), observe(tg, line)
    close(mine[0], theirs[0], "value")
    for key, g in theirs[2].items():
        assert (mine[2][key] is None) == (g is None), key
        if g is not None:
            close(mine[2][key], g, f"gradient of {key}")


WRONG = """
F.mse_loss(x, y, reduction="average")
F.mse_loss(x, y, weight=c)
F.l1_loss(x, y, weight=c)
F.huber_loss(x, y, weight=c)
F.huber_loss(x, y, delta=0.0)
F.smooth_l1_loss(x, y, beta=-1.0)
F.kl_div(x, soft, reduction="average")
F.poisson_nll_loss(x, y, reduction="average")
F.gaussian_nll_loss(x, y, -p)
F.gaussian_nll_loss(x, y, -1.0)
F.gaussian_nll_loss(x, y, p[0])
F.gaussian_nll_loss(x, y, p, reduction="average")
F.margin_ranking_loss(x, y, c)
F.cosine_embedding_loss(x, y, bits)
F.cosine_embedding_loss(c, d, bits[0])
F.triplet_margin_loss(x, y, p, margin=0)
F.triplet_margin_loss(x, y, c)
F.triplet_margin_with_distance_loss(x, y, p, margin=-1.0)
F.triplet_margin_with_distance_loss(x, y, c)
F.multi_margin_loss(x, t32.long(), p=3)
F.multi_margin_loss(x, torch.tensor([0, 1, 5, 0]))
F.multi_margin_loss(x, torch.tensor([0, 1]))
F.multi_margin_loss(x, t32.long(), weight=cw[:2])
F.multi_margin_loss(x, t32.long(), weight=x)
F.multi_margin_loss(x, x[:, 0])
F.multilabel_margin_loss(x, t32.long())
F.multilabel_margin_loss(c, torch.tensor([0, 5, -1, 0, 0]))
F.cosine_similarity(x, y, dim=2)
F.cosine_similarity(x, c[:3])
F.cross_entropy(x, t, weight=cw[:3])
F.cross_entropy(x, soft[:2])
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_same_exception(line):
    with pytest.raises(Exception) as theirs:
        observe(torch, line)
    with pytest.raises(theirs.type, match=r"^\[\w+\] .*(, |; |: )"):
        observe(tg, line)


WARNS = """
F.mse_loss(x, y, size_average=False)
F.kl_div(x, soft)
F.smooth_l1_loss(x, c)
F.huber_loss(x, c)
torch.nn.MSELoss(reduce=False)
"""


@pytest.mark.parametrize("line", WARNS.strip().splitlines())
def test_warns_once_and_points_here(line):
    for library in BOTH:
        x, y = (library.ones(2, 3) for _ in range(2))
        space = {"torch": library, "F": library.nn.functional, "x": x, "y": y}
        space |= {"soft": y / 3, "c": library.ones(3)}
        with pytest.warns(UserWarning) as caught:
            eval(line, space)
        assert len(caught) == 1
        if library is tg:
            assert caught[0].filename == "<string>"


def test_nothing_else_warns():
    """At infinities and empty inputs, too; NumPy warns there."""
    F = tg.nn.functional
    big = tg.tensor([[1e30, -1e30, np.inf, 0.0]], requires_grad=True)
    ones, ids = tg.ones(1, 4), tg.tensor([0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in (
            F.mse_loss(big, ones),
            F.huber_loss(big, ones),
            F.soft_margin_loss(big, ones),
            F.multi_margin_loss(big, ids),
            F.kl_div(big, ones * 0, reduction="batchmean"),
            F.poisson_nll_loss(big, ones * 0, full=True),
            F.gaussian_nll_loss(big, ones, 0.0),
            F.multilabel_soft_margin_loss(big, ones),
            F.mse_loss(big[:0], ones[:0]),
        ):
            loss.backward()


def test_a_layer_reads_its_settings_at_each_call():
    for library in BOTH:
        loss = library.nn.SmoothL1Loss()
        assert (loss.reduction, loss.beta) == ("mean", 1.0)
        loss.reduction, loss.beta = "none", 0.5
        out = loss(library.tensor([0.0, 2.0]), library.zeros(2))
        assert out.tolist() == [0.0, 1.75]
        loss = library.nn.CrossEntropyLoss(library.ones(3), ignore_index=2)
        assert list(loss.state_dict()) == ["weight"] and loss.ignore_index == 2
        with pytest.raises(TypeError):
            library.nn.MSELoss(nothing=1)
