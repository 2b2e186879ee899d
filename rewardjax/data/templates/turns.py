"""From token ids back to the messages of a conversation, for people to read.

What a model read is the template's text around the messages. Control tokens say where a turn begins
and ends, and no text inside a message can be one of them, so that a response cannot pass for two.
Where the speaker stands is the template's choice; three ways are known, each with a line break
before the text:

    <|im_start|>user Hello<|im_end|>                          a turn's first line (ChatML, Gemma)
    <|start_header_id|>user<|end_header_id|> Hello<|eot_id|>  a piece of its own (Llama 3)
    <|user|> Hello<|end|>                                     the control token itself (Phi 3)
"""

from collections.abc import Iterable, Sequence

from rewardjax.data.groups import Message

# Word of the template -> who speaks.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "ipython": "tool",
}


def messages_of(pieces: Iterable[tuple[str, str]]) -> list[Message] | None:
    """The messages of a conversation; None where a text stands under no speaker.

    pieces: (the control token before a text, "" for none; the text), as of
    `ChatTokenizer.pieces_of`.
    """
    messages: list[Message] = []
    # Set by a header that is a piece of its own, for the text behind it.
    announced: str | None = None
    for control, text in pieces:
        first_line, line_break, rest = text.partition("\n")
        speaker = ROLES.get(control.strip("<|>"), announced)
        # Behind a header of its own a text may begin with such a word; it is not one then.
        if speaker is None and first_line in ROLES:
            speaker, text = ROLES[first_line], rest
            if not line_break:
                announced = speaker
                continue
        if speaker is not None:
            messages.append({"role": speaker, "content": text.strip("\n")})
            announced = None
        elif text.strip():
            return None
    return messages


def prompt_and_responses(
    conversations: Sequence[Sequence[Message]],
) -> tuple[list[Message], list[list[Message]]]:
    """The messages that conversations begin with in common, and what follows in each."""
    common = 0
    for turns in zip(*conversations, strict=False):
        if any(turn != turns[0] for turn in turns):
            break
        common += 1
    responses = [list(messages[common:]) for messages in conversations]
    return list(conversations[0][:common]), responses
