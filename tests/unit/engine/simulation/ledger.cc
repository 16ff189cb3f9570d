#include "tests/unit/engine/simulation/ledger.h"

namespace peerage {

void Ledger::Check(Verdict& verdict) const {
  verdict.Require(told.generated == generated, "clients got ", generated,
                  " generated tokens, the observer was told of ", told.generated);
  verdict.Require(told.scored == scored, "clients got ", scored,
                  " scored tokens, the observer was told of ", told.scored);
  const int64_t prompts = told.prompt + cached_prompts;
  verdict.Require(prompts >= whole_prompts && prompts <= begun_prompts, "of ", whole_prompts,
                  " to ", begun_prompts, " prompt tokens, the observer was told of ", prompts);
  verdict.Require(told.prefix_hit == cached_prompts && told.prefix_queried >= cached_prompts,
                  "requests found ", cached_prompts,
                  " tokens in the cache, the observer was told of ", told.prefix_hit, " of ",
                  told.prefix_queried);
  verdict.Require(told.preemptions == preemptions, preemptions,
                  " requests were thrown out, the observer was told of ", told.preemptions);
  verdict.Require(preemptions > 0 || told.recomputed == 0, "the observer was told of ",
                  told.recomputed, " tokens that nobody had computed before");
  verdict.Require(told_inter_tokens == generated - candidates_begun, "the observer was told of ",
                  told_inter_tokens, " times between ", generated, " tokens of ", candidates_begun,
                  " candidates");
  verdict.Require(!tokens_told_late, "the observer was told of tokens after a request's end");
  verdict.Require(failed_steps == broken_steps, "the observer was told of ", failed_steps,
                  " failed steps of ", broken_steps);
}

}  // namespace peerage
