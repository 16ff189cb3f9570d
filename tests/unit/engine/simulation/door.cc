#include "tests/unit/engine/simulation/door.h"

#include <string>
#include <type_traits>
#include <utility>

#include "base/status_macros.h"
#include "server/engine/generate_delivery.h"
#include "server/engine/score_delivery.h"

namespace peerage {
namespace {

template <typename Request>
absl::StatusOr<std::unique_ptr<Task>> TaskOfRequest(Request request, Client& client,
                                                    const EngineCapacity& capacity,
                                                    const ModelFacts& facts) {
  using RequestDelivery =
      std::conditional_t<std::is_same_v<Request, GenerateRequest>, GenerateDelivery, ScoreDelivery>;
  const RequestHandle handle = client.arrival->handle;
  request.origin.request_id = std::to_string(handle);
  request.scheduling.arrival = client.arrived;
  request.scheduling.deadline = client.deadline;
  request.scheduling.queue_deadline = client.queue_deadline;
  auto delivery = std::make_unique<RequestDelivery>(std::move(request), client.reader, facts);
  RETURN_IF_ERROR(CheckFits(delivery->request(), capacity));
  auto task = std::make_unique<Task>(handle, delivery->request().scheduling,
                                     WorkOf(delivery->request()), capacity.model.block_tokens);
  client.task = task.get();
  RETURN_IF_ERROR(CheckFits(task->needs, capacity));
  task->prompt_tokens = client.prompt_tokens;
  task->delivery = std::move(delivery);
  return task;
}

}  // namespace

EngineCapacity CapacityOf(const World& world) {
  return {.model = {.block_tokens = world.block_tokens,
                    .num_blocks = world.num_blocks,
                    .num_slots = world.max_sequences,
                    .max_step_tokens = world.max_batch_tokens},
          .context_length = kContextLength,
          .max_sequences = world.max_sequences};
}

absl::StatusOr<std::unique_ptr<Task>> TaskOf(Client& client, const EngineCapacity& capacity,
                                             const ModelFacts& facts) {
  return std::visit(
      [&](const auto& request) { return TaskOfRequest(request, client, capacity, facts); },
      client.arrival->request);
}

}  // namespace peerage
