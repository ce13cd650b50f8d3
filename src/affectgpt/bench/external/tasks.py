"""The tasks of MIntRec, HitEmotion and EEmo-Bench, as data: labels, sizes, questions, sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affectgpt.errors import ConfigError, did_you_mean

INTENTS = (
    *("Complain", "Praise", "Apologise", "Thank", "Criticize", "Agree", "Taunt", "Flaunt", "Joke", "Oppose"),
    *("Comfort", "Care", "Inform", "Advise", "Arrange", "Introduce", "Leave", "Prevent", "Greet", "Ask for help"),
)
FILM_EMOTIONS = ("Amusement", "Anger", "Disgust", "Fear", "Neutral", "Sadness", "Tenderness")
SENTIMENTS = ("neutral", "negative", "positive")
TECHNIQUES = (
    "Appeal to authority",
    "Appeal to fear/prejudice",
    "Black-and-white Fallacy/Dictatorship",
    "Causal Oversimplification",
    "Doubt",
    "Exaggeration/Minimisation",
    "Flag-waving",
    "Glittering generalities (Virtue)",
    "Loaded Language",
    "Misrepresentation of Someone's Position (Straw Man)",
    "Name calling/Labeling",
    "Obfuscation, Intentional vagueness, Confusion",
    "Presenting Irrelevant Data (Red Herring)",
    "Reductio ad hitlerum",
    "Repetition",
    "Slogans",
    "Smears",
    "Thought-terminating cliché",
    "Whataboutism",
    "Bandwagon",
    "Transfer",
    "Appeal to (Strong) Emotions",
)
IMAGE_EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
DIMENSIONS = ("valence", "arousal", "dominance")

_CHOICE = " Choose between one of the following options: {options}"
_THINK = (
    'Answer the question: "{question}" according to the content of the image. Firstly, give a through thinking on this '
    "and then output your thought and analysis process within the <think> </think> tags and provide your answer within "
    "the <answer> </answer> tags (formatted as {form}). The final output should be with the following format:\n"
    "            <think></think><answer>{form}</answer>"
)


@dataclass(frozen=True)
class OtherTask:
    """One task of another benchmark.

    Attributes:
        name: Name for ``affectgpt score``.
        title: As papers print it.
        metric: The figure that is reported.
        num_samples: Size of the published test split.
        question: The published question; ``question_of`` fills the fields in braces.
        source: Where the data are available.
        labels: All labels, if there is a fixed set.
        formula: Definition of the figure, if the publication leaves it open.
        listed: The publicly listed figure of AffectGPT, as a fraction, and its publisher.
    """

    name: str
    title: str
    metric: str
    num_samples: int
    question: str
    source: str
    labels: tuple[str, ...] = ()
    formula: str | None = None
    listed: tuple[float, str] | None = None


_HIT = "github.com/Eurekaleo/Emotional-Intelligence (questions and gold), huggingface.co/Eureka-Leo (media)"
_EEMO = "github.com/workerred/EEmo-Logic (test_data), huggingface.co/datasets/Workerred/EEmo-Bench_single and _pair"
_LOGIC = "EEmo-Logic (arXiv 2602.01173), table not seen"

OTHERS: Mapping[str, OtherTask] = {
    task.name: task
    for task in (
        OtherTask(
            "mintrec",
            "MIntRec",
            "accuracy",
            445,
            "Please recognize speaker's intention from the provided candidate labels: {labels}.",
            "github.com/thuiar/MIntRec (test.tsv and raw_data)",
            INTENTS,
            listed=(0.4876, "Nano-EmoX (arXiv 2603.02123), table not seen"),
        ),
        OtherTask(
            "hitemotion-eer",
            "HitEmotion EER",
            "accuracy",
            64,
            "Recognize the viewer's elicited emotion after watching the clip. Do not provide any explanations or extra "
            "text. Choose one of the following labels as your final answer: {labels}. Respond in the format: "
            "{{'emotion': 'label'}}.",
            _HIT,
            FILM_EMOTIONS,
            listed=(0.4375, "HitEmotion (arXiv 2602.00971), table not seen"),
        ),
        OtherTask(
            "hitemotion-fesd",
            "HitEmotion FESD",
            "accuracy",
            450,
            "The person in video says: {words}. Determine the emotion conveyed. Do not provide any additional "
            "explanations or extra content. Choose one of the following labels as your final answer: {labels}. Respond "
            "in the format: {{'emotion': 'label'}}.",
            _HIT,
            SENTIMENTS,
            listed=(0.6667, "HitEmotion (arXiv 2602.00971), table not seen"),
        ),
        OtherTask(
            "hitemotion-dptm",
            "HitEmotion DPTM",
            "micro_f1",
            550,
            "Meme text: {words}\n\nTask: Detect which persuasion techniques are used in this meme. Do not explain. "
            "Choose zero or more labels from the following list:\n{labels}.\nRespond EXACTLY in the format: "
            "{{'techniques': ['label1', 'label2', ...]}}.",
            _HIT,
            TECHNIQUES,
            listed=(0.3417, "HitEmotion (arXiv 2602.00971), table not seen"),
        ),
        OtherTask(
            "eemo-perception",
            "EEmo-Bench perception",
            "accuracy",
            5932,
            "Assume you are an expert in emotional psychology. Analyze the following emotional psychology questions "
            "based on the image. The involved emotion categories include anger, disgust, fear, joy, neutral, sadness, "
            "and surprise.The question is as follows: {question}" + _CHOICE,
            _EEMO,
            formula="correct answers over all questions, single images and pairs, as the published overall figures add "
            "up; an answer counts as the option that it names last (strict: the only one that it names)",
            listed=(0.4373, _LOGIC),
        ),
        OtherTask(
            "eemo-ranking",
            "EEmo-Bench ranking",
            "rank_credit",
            1960,
            _THINK.replace(
                "{question}",
                "Assume you are an expert in emotional psychology. Based on the given image, carefully identify the "
                "three main emotions evoked by the image, ranking them from the strongest to the weakest. The emotions "
                "to consider include: anger, disgust, fear, joy, neutral, sadness, and surprise.Show the all three "
                "main emotions and use comma to separate them.",
            ).replace("{form}", "Emotion ranking: "),
            _EEMO,
            IMAGE_EMOTIONS,
            formula="not published; here the mean over three ranks of 1 for the emotion of that rank, 0.5 for another "
            "of the three, 0 for none (three of seven in random order give 0.29; the published chance level is 0.25)",
            listed=(0.1857, _LOGIC),
        ),
        OtherTask(
            "eemo-assessment",
            "EEmo-Bench assessment",
            "mean_correlation",
            1960,
            _THINK.replace(
                "{question}",
                "As an expert in emotional attribute assessment, please rate the level of {dimension} the image evokes "
                "in you on a scale from 0 to 1. ",
            ).replace("{form}", "{Dimension}: x.xxxx"),
            _EEMO,
            DIMENSIONS,
            formula="srcc and plcc are means over valence, arousal and dominance, as the published overall columns add "
            "up; how one figure is made of the two is not published: here their mean. Answers are numbers, as "
            "EEmo-Logic asks for; EEmo-Bench itself reads the probabilities of level words",
            listed=(0.2241, _LOGIC),
        ),
    )
}


def get_other(name: str) -> OtherTask:
    """Find a task by name.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name in OTHERS:
        return OTHERS[name]
    hint = did_you_mean(name, OTHERS, most=2, cutoff=0.5)
    raise ConfigError(f"unknown benchmark {name!r}.{hint} Known: {', '.join(OTHERS)}")


def question_of(name: str, **fields: str) -> str:
    """The published question of a task, for a model.

    Args:
        name: The task.
        fields: Values for the braces in the question, besides the labels: ``words``, ``question``, ``options`` (such as
            "A:Yes B:No"), ``dimension``.

    Raises:
        ConfigError: If the task is unknown, or a field is missing.

    Examples:
        >>> question_of("eemo-assessment", dimension="valence")[-32:]
        '<answer>Valence: x.xxxx</answer>'
        >>> question_of("hitemotion-eer")[-44:]
        "Respond in the format: {'emotion': 'label'}."
    """
    task = get_other(name)
    separator = "," if name == "mintrec" else ", "
    given = {"labels": separator.join(task.labels), **fields}
    if "dimension" in given:
        given["Dimension"] = given["dimension"].capitalize()
    try:
        return task.question.format(**given)
    except KeyError as error:
        raise ConfigError(f"the question of {name} needs {error.args[0]!r}; give it as a keyword argument") from None
