#pragma once

#include <vector>

#include "server/engine/request.h"
#include "tests/support/dice.h"

namespace peerage {

// Requests with every choice that a client has, small enough for models of 256 positions.

std::vector<TokenId> RandomTokens(Dice& dice, int count, int vocab_size);

GenerateRequest RandomGenerate(Dice& dice, int vocab_size);
ScoreRequest RandomScore(Dice& dice, int vocab_size);

}  // namespace peerage
