#include "tests/unit/engine/simulation/block_rules.h"

#include <algorithm>

namespace peerage {

BlockRules::BlockRules(const World& world, Verdict* verdict, Coverage* coverage)
    : world_(world), verdict_(*verdict), coverage_(*coverage), owner_(world.num_blocks) {}

void BlockRules::Check(const Scheduler& scheduler) {
  holders_.assign(world_.num_blocks, 0);
  held_ = promised_ = sequences_ = 0;
  for (const auto& task : scheduler.running()) CheckTask(*task);

  const Reservations& reservations = scheduler.reservations();
  const BlockPool& blocks = reservations.blocks();
  for (BlockId block = 0; block < world_.num_blocks; ++block) {
    promised_ += blocks.adopters(block);
    verdict_.Require(blocks.adopters(block) >= 0 && blocks.adopters(block) <= holders_[block],
                     "block ", block, " counts ", blocks.adopters(block), " adopters");
    verdict_.Require(blocks.holders(block) == holders_[block], "block ", block, " has ",
                     holders_[block], " holders, and counts ", blocks.holders(block));
  }
  verdict_.Require(held_ + blocks.num_free() == world_.num_blocks, held_, " blocks are held and ",
                   blocks.num_free(), " free, of ", world_.num_blocks);
  verdict_.Require(blocks.num_kept() >= 0 && blocks.num_kept() <= blocks.num_free(),
                   blocks.num_kept(), " blocks are kept of ", blocks.num_free(), " free ones");
  verdict_.Require(
      blocks.num_available() == blocks.num_free() - promised_ && blocks.num_available() >= 0,
      promised_, " blocks are promised of ", blocks.num_free(), ", and ", blocks.num_available(),
      " said to be available");
  const int64_t available = reservations.num_available_sequences();
  verdict_.Require(available == world_.max_sequences - sequences_ && available >= 0, sequences_,
                   " sequences are promised or run, and ", available, " said to be available");
}

void BlockRules::CheckTask(const Task& task) {
  promised_ += task.promised_blocks;
  sequences_ += task.promised_sequences;
  verdict_.Require(task.promised_blocks >= 0 && task.promised_sequences >= 0,
                   "less than nothing is promised to request ", task.handle);
  if (task.trunk != nullptr) Count(*task.trunk);
  for (const auto& sequence : task.sequences) Count(*sequence);
}

void BlockRules::Count(const Sequence& sequence) {
  promised_ += sequence.promised_blocks;
  sequences_ += sequence.slot >= 0;
  auto room = static_cast<int64_t>(sequence.blocks.size()) * world_.block_tokens;
  // A trunk may have given its partial block to its last branch.
  if (sequence.is_trunk && sequence.slot < 0) room += world_.block_tokens - 1;
  verdict_.Require(sequence.promised_blocks >= 0 && room >= sequence.computed,
                   "a sequence of request ", sequence.task->handle, " has too few blocks");
  for (const BlockId block : sequence.blocks) {
    const bool exists = block >= 0 && block < world_.num_blocks;
    verdict_.Require(exists, "block ", block, " does not exist");
    if (!exists) return;
    const bool is_shared = ++holders_[block] > 1;
    held_ += !is_shared;
    coverage_.shared_blocks += is_shared;
    verdict_.Require(!is_shared || owner_[block] == sequence.task ||
                         (world_.prefix_cache && owner_[block]->scheduling.cache_salt ==
                                                     sequence.task->scheduling.cache_salt),
                     "requests ", sequence.task->handle, " and another share block ", block);
    owner_[block] = sequence.task;
  }
}

}  // namespace peerage
