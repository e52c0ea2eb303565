"""What gives a question away without the chapter: the rules that notebooks/questions/NN.yml obey.

All questions of an earlier edition were answered by people who had not read a page. What helped
them is what these rules look for. They find the clumsy give-aways, and not a question that is easy:
for that, hand somebody the questions alone (`python book/_tools/questions.py NN`).
"""

import re
from collections import Counter
from itertools import chain

from questions import WITHOUT_THE_CHAPTER, Question

QUESTIONS, FROM_THE_CHAPTER, KINDS = 4, 2, 2  # of a chapter, at least
LONGER = 1.5  # how much longer the longest option may be than the shortest
ROW = 5  # words in a row that an option and another text may not share
COPIED = 8  # words in a row that a right option and the chapter's text may not share
ABSOLUTE = re.compile(
    r"\b(always|never|nothing|none|nobody|no one|all|every|everything|everybody|only|completely|"
    r"entirely|wholly|impossible|cannot|must|any|exactly|no)\b",
    re.IGNORECASE,
)
HEDGE = re.compile(
    r"\b(may|might|can|could|often|usually|mostly|nearly|almost|partly|sometimes|some|roughly|"
    r"about|perhaps|probably|likely|tends?|hardly|rarely|up to)\b",
    re.IGNORECASE,
)
DENIAL = re.compile(
    r"^(nothing|none|nobody|neither|no\b|never|not at all|(it|they|this|that) "
    r"(cannot|do(es)? not))",
    re.IGNORECASE,
)
LETTER = re.compile(r"\b([Oo]ption|[Aa]nswer) [A-F]\b|\b[B-F] (is|was|has|would|looks)\b")
ASKS = re.compile(r"\b(what|which|how|where|why)\b", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
SMALL = {"about", "which", "would", "should", "their", "there", "where", "these", "those", "other"}


def complaints(questions: list[Question]) -> list[str]:
    """What gives a chapter's questions away, in words; empty if nothing does."""
    found = []
    if len(questions) != QUESTIONS:
        found.append(f"a chapter has {QUESTIONS} questions; there are {len(questions)}")
    resting = [question for question in questions if question.kind not in WITHOUT_THE_CHAPTER]
    if len(resting) < FROM_THE_CHAPTER:
        found.append(
            f"{FROM_THE_CHAPTER} questions or more need the chapter: predict, fault, change, "
            f"explain; there are {len(resting)}"
        )
    if len({question.kind for question in questions}) < KINDS:
        found.append(f"the questions are of {KINDS} kinds or more")
    for question in questions:
        found += [f"{question.id}: {words}" for words in option_complaints(question)]
    return [*found, *letter_complaints(questions), *given_away(questions)]


def option_complaints(question: Question) -> list[str]:
    """What tells the right option of one question, by the options and the stem alone."""
    if not question.options:
        return []
    found = []
    texts = [option.text for option in question.options]
    right = question.letters[question.right].text
    wrong = [text for text in texts if text != right]
    if len(set(texts)) < len(texts):
        found.append("two options say the same")
    shortest, *_, longest = sorted(texts, key=len)
    if len(longest) > LONGER * len(shortest):
        found.append(
            f"the options are not alike in length: {longest!r} is more than {LONGER} times as long "
            f"as {shortest!r}"
        )
    absolute = [text for text in texts if ABSOLUTE.search(text)]
    if absolute and right not in absolute:
        words = sorted({match[0].lower() for text in absolute for match in ABSOLUTE.finditer(text)})
        found.append(f"absolutes stand among the wrong options only: {', '.join(words)}")
    if [text for text in texts if HEDGE.search(text)] == [right]:
        found.append(f"the right option is the only one with a hedge: {right!r}")
    for text in texts:
        if DENIAL.match(text) and ASKS.search(question.stem):
            found.append(f"an option denies what the stem takes for granted: {text!r}")
        if rows := runs(text, ROW) & runs(question.stem, ROW):
            found.append(f"an option repeats the stem: {' '.join(min(rows))!r}")
    echoes = words_of(question.stem)
    own = {}  # of each option, the words that it shares with the stem and with no other option
    for text in texts:
        others = " ".join(other for other in texts if other != text)
        own[text] = words_of(text) & echoes - words_of(others)
    if own[right] and not any(own[text] for text in wrong):
        found.append(f"the right option alone takes up a word of the stem: {sorted(own[right])}")
    for option in question.options:
        if LETTER.search(option.why):
            found.append(f"a reason names a letter, and letters are drawn: {option.why!r}")
    if any("$" in text for text in (*(option.why for option in question.options), question.why)):
        found.append("a reason has a formula: JupyterLab typesets none inside <details>")
    return found


def letter_complaints(questions: list[Question]) -> list[str]:
    """Whether the letters of one chapter tell something."""
    letters = [question.right for question in questions if question.right]
    if len(letters) >= QUESTIONS and len(set(letters)) == len(letters):
        return [f"every letter is right once ({''.join(letters)}): change an id, which draws anew"]
    if len(letters) >= 3 and len(set(letters)) == 1:
        return [f"the right letter is always {letters[0]}"]
    longest = [
        max(question.options, key=lambda option: len(option.text)).right
        for question in questions
        if question.options
    ]
    if len(longest) >= 3 and all(longest):
        return ["the right option is the longest in every question"]
    return []


def given_away(questions: list[Question]) -> list[str]:
    """Questions whose answer another one gives: by its stem, its options, or an earlier reason."""
    found = []
    for asked in questions:
        if asked.number is None:
            right = asked.letters[asked.right].text
            own = " ".join([asked.stem, *(o.text for o in asked.options if not o.right)])
            numbers = {number for number in NUMBER.findall(right) if len(number) > 3}
            numbers = {number for number in numbers - set(NUMBER.findall(own)) if number != "100"}
        else:
            right, own = "", asked.stem
            numbers = {f"{asked.number:,}", str(asked.number)} - set(NUMBER.findall(own))
        for other in questions:
            if other is asked:
                continue
            text = " ".join([other.stem, *(option.text for option in other.options)])
            if other.chapter != asked.chapter or other.place < asked.place:
                text = " ".join([text, other.why, *(option.why for option in other.options)])
            if shared := numbers & set(NUMBER.findall(text)):
                found.append(f"{asked.id}: {other.id} says the number, {', '.join(sorted(shared))}")
            if rows := (runs(right, ROW) - runs(own, ROW)) & runs(text, ROW):
                found.append(f"{asked.id}: {other.id} says the answer, {' '.join(min(rows))!r}")
    return found


def place_complaints(chapters: list[list[Question]]) -> list[str]:
    """Whether the letters of the whole book tell something: all of them, and at each place."""
    found = []
    letters = Counter(question.right for question in chain(*chapters) if question.right)
    if letters.total() >= 10 and max(letters.values()) > 0.4 * letters.total():
        found.append(f"one letter is right too often: {dict(letters)}")
    for place in range(1, QUESTIONS + 1):
        at = Counter(
            question.right
            for question in chain(*chapters)
            if question.place == place and question.right
        )
        if at.total() >= 4 and max(at.values()) > 0.6 * at.total():
            found.append(f"question {place} has the same letter in most chapters: {dict(at)}")
    return found


def runs(text: str, count: int) -> set[tuple[str, ...]]:
    """All rows of so many words in a text; a hyphen and a decimal point stand between two."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + count]) for start in range(len(words) - count + 1)}


def words_of(text: str) -> set[str]:
    """The longer words of a text."""
    return {word for word in re.findall(r"[a-z][a-z-]{4,}", text.lower()) if word not in SMALL}
