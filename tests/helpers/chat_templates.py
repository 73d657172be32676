"""Chat templates as models carry them, and conversations to put through."""

from __future__ import annotations

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# In the manner of Llama 3: blocks over several lines, whose white space must go where jinja2 is told so.
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'user' or message.role == 'assistant') %}
        {{- raise_exception("Only user and assistant roles are supported!") }}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# In the manner of Mistral and Gemma: turns must alternate, and much of the language is used.
STRICT = """{% set ns = namespace(turns=0) %}
{{ bos_token }}{% for message in messages if message.role != 'system' %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{% endif %}
{% set ns.turns = ns.turns + 1 %}
{% if message.role == 'assistant' %}
{% generation %}{{ message.content.strip() ~ eos_token }}{% endgeneration %}
{% else %}[INST] {{ message.content | trim | replace('\\r\\n', '\\n') }} [/INST]{% endif %}
{% if loop.index > 1000 %}{% break %}{% endif %}
{% endfor %}
{{ {'turns': ns.turns, 'é': '<b>'} | tojson }} {{ messages | map(attribute='role') | join(',') }}
{% macro shown(text) %}({{ text|upper }}){% endmacro %}{{ shown('end') }} {{ '%03d|{:>4}'.format(7) % 5 }}
"""

TEMPLATES = {"smollm2": SMOLLM2, "llama": LLAMA, "strict": STRICT}

CONVERSATIONS = (
    ({"role": "user", "content": "What is the capital of France?"},),
    (
        {"role": "system", "content": "  Be brief.  "},
        {"role": "user", "content": " 1 < 2 & 'quoted' \"too\" {{ not_a_template }} "},
        {"role": "assistant", "content": "Paris.\n\n"},
        {"role": "user", "content": "naïve ☃ 日本\r\n\ttabbed"},
    ),
    (
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "y"},
    ),
)
