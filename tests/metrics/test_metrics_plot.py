"""Pictures of scores, and scores of single batches."""

import pytest
import torch

from affectgpt.metrics import EmotionHitRate, EmotionWheel, EmotionWheelScore, SentimentScore

WHEEL = EmotionWheel.builtin()
BATCHES = [
    ([["happy"], ["sad", "zzz"]], ["joy", "anger"], ["positive", "neutral"], [0.5, -1.0]),
    ([["furious"], ["afraid", "calm"]], ["anger", "fear"], ["negative", "negative"], [-0.2, -0.1]),
    ([["proud"], ["lonely"]], ["disgust", "sadness"], ["positive", "positive"], [-0.3, 0.9]),
]


def metrics():
    return {
        "wheel": (EmotionWheelScore(WHEEL, mode="strict"), [(p, [[t] for t in ts]) for p, ts, _, _ in BATCHES]),
        "hits": (EmotionHitRate(WHEEL), [(p, ts) for p, ts, _, _ in BATCHES]),
        "sentiment": (SentimentScore(), [(said, torch.tensor(gold)) for _, _, said, gold in BATCHES]),
    }


@pytest.mark.parametrize("name", ["wheel", "hits", "sentiment"])
def test_forward_scores_the_batch_and_adds_it_to_the_rest(name):
    metric, batches = metrics()[name]
    results = [metric(*batch) for batch in batches]
    for result, batch in zip(results, batches, strict=True):
        alone, _ = metrics()[name]
        alone.update(*batch)
        assert result == alone.compute()
    together, _ = metrics()[name]
    for batch in batches:
        together.update(*batch)
    assert metric.compute() == together.compute() != results[0]
    metric.reset()
    assert metric(*batches[0]) == metric.compute() == results[0]


@pytest.mark.parametrize("name", ["wheel", "hits", "sentiment"])
def test_plots_show_the_main_figures(name, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    metric, batches = metrics()[name]
    course = [metric(*batch) for batch in batches]
    figure, axes = metric.plot()
    drawn = {line.get_label(): float(line.get_ydata()[0]) for line in axes.get_lines()}
    assert drawn == {key: pytest.approx(float(metric.compute()[key])) for key in metric.plotted}
    assert axes.get_ylim() == (pytest.approx(-0.1), pytest.approx(1.1))
    figure.savefig(tmp_path / "now.png")
    assert (tmp_path / "now.png").stat().st_size > 5000
    _, axes = pyplot.subplots()
    assert metric.plot(course, ax=axes) == (None, axes)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == {key: pytest.approx([float(one[key]) for one in course]) for key in metric.plotted}
    pyplot.close("all")
