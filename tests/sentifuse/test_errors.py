import pickle

from sentifuse import errors
from sentifuse.errors import UserError


def test_a_user_error_survives_the_way_out_of_a_worker_process() -> None:
    back = pickle.loads(pickle.dumps(UserError("features: no such folder")))
    assert type(back) is UserError
    assert str(back) == "features: no such folder"


def test_of_many_mistakes_ten_are_listed_and_the_rest_counted() -> None:
    assert errors.listed([]) == ""
    assert errors.listed(list(range(10))) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9"
    assert errors.listed(list(range(12))).endswith("8; 9; and 2 more")
