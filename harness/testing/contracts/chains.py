"""placeholder"""


class ChainContract: ...
