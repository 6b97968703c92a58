"""Alice buys, with the client that openapi-python-client makes of our document: see generated.py."""

import sys
from uuid import UUID, uuid4

from offers_client import AuthenticatedClient, Client
from offers_client.api.account import get_account_balance, get_account_statement, get_account_transactions
from offers_client.api.activation import get_activation_status_by_id, post_activation
from offers_client.api.auth import post_auth_login
from offers_client.models import ActivationRequest, Code, Credentials, Problem, Status

ANSWER_TIMEOUT_S = 40  # a wait takes up to 30


def expect(answer):
    """The answer, which is no refusal."""
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


def main():
    url, offer = sys.argv[1], UUID(sys.argv[2])
    tokens = expect(post_auth_login.sync(client=Client(url), body=Credentials("alice", "alice-demo")))
    alice = AuthenticatedClient(url, token=tokens.access, timeout=ANSWER_TIMEOUT_S)

    key = str(uuid4())
    send = lambda: post_activation.sync_detailed(client=alice, body=ActivationRequest(offer), idempotency_key=key)
    first, again = send(), send()
    assert expect(again.parsed).transaction_id == expect(first.parsed).transaction_id
    assert again.headers["Idempotent-Replayed"] == "true"
    id = first.parsed.transaction_id
    status = expect(get_activation_status_by_id.sync(id, client=alice, prefer="wait=30")).status

    balance = expect(get_account_balance.sync(client=alice))
    bought = expect(get_account_transactions.sync(client=alice, status=status, limit=1)).results[0]
    assert (bought.offer.id, bought.status) == (offer, Status.SUCCESS)
    charge, hold = expect(get_account_statement.sync(client=alice, limit=2)).results
    assert (charge.kind, hold.kind, charge.balance, hold.amount) == ("charge", "hold", balance.balance, f"-{bought.amount}")
    refused = post_activation.sync(client=alice, body=ActivationRequest(uuid4()))
    assert isinstance(refused, Problem) and refused.code == Code.OFFER_NOT_FOUND, refused
    print(f"{bought.offer.name}: {status} for {bought.amount}, {balance.balance} {balance.currency} left")


main()
