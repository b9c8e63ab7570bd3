"""The table of model families: what make.py builds, and why each row has the sizes it has.

To add a family: one row in the file it belongs to; a rule in table.INITIAL, or in the row's own
`initial`, if it brings a kind of weight that the last rule would spoil; a function beside
`logits_and_chosen` if its router returns something else. Then `make.py --find-seed NAME` for the seed.
"""

from families.deepseek import DEEPSEEK
from families.dense import DENSE
from families.gemma3 import GEMMA3
from families.gpt_oss import GPT_OSS
from families.granite_phi import GRANITE_PHI
from families.llama4 import LLAMA4
from families.mistral import MISTRAL_4
from families.mixture import MIXTURE

FAMILIES = DENSE + MIXTURE + GPT_OSS + DEEPSEEK + LLAMA4 + GRANITE_PHI + GEMMA3 + MISTRAL_4
