"""Write `golden/*.json`: conversations and what the chat template must make of them, in any engine.

Rendered with jinja2 as transformers sets it up. Berth's tests render the same with the engine's own template code.
"""

import json
from pathlib import Path

import chat

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "Get the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]},
    },
}
TIMER = {"type": "function", "function": {"name": "set_timer", "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}}}}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments):
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


CASES = {
    "user": dict(messages=[turn("user", "Hello")]),
    "system": dict(messages=[turn("system", "Be brief."), turn("user", "Who are you?")]),
    "turns": dict(messages=[turn("user", "Hi"), turn("assistant", "Hello!"), turn("user", "What is 2 + 3?")]),
    "no-prompt": dict(messages=[turn("user", "Hi"), turn("assistant", "Hello!")], add_generation_prompt=False),
    "parts": dict(messages=[turn("user", [{"type": "text", "text": "Say "}, {"type": "text", "text": "<b>\"hi\" & 'bye'</b>"}])]),
    "tools": dict(messages=[turn("user", "Weather in Zürich?")], tools=[WEATHER]),
    "tools-system": dict(messages=[turn("system", "Be brief."), turn("user", "Set a timer for 5 minutes")], tools=[WEATHER, TIMER]),
    "tool-answer": dict(
        messages=[
            turn("user", "Weather in Oslo?"), turn("assistant", None, tool_calls=[call("get_weather", '{"city": "Oslo"}')]),
            turn("tool", '{"temperature": 7, "condition": "rainy"}', tool_call_id="call_1"),
        ],
        tools=[WEATHER],
    ),
    "two-tool-answers": dict(
        messages=[
            turn("user", "Weather in Oslo and Rome?"),
            turn("assistant", "One moment.", tool_calls=[call("get_weather", {"city": "Oslo"}), call("get_weather", {"city": "Rome"})]),
            turn("tool", "7", tool_call_id="call_1"), turn("tool", "21", tool_call_id="call_2"),
            turn("assistant", "The result is 7 and 21."), turn("user", "Thanks"),
        ],
        tools=[WEATHER, TIMER],
    ),
}


def main():
    for name, case in CASES.items():
        case = {"tools": None, "add_generation_prompt": True, **case}
        case["expected"] = chat.render(case["messages"], case["tools"], case["add_generation_prompt"])
        path = Path(__file__).parent / "golden" / f"{name}.json"
        path.write_text(json.dumps(case, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
