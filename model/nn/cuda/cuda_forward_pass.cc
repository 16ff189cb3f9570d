#include "model/nn/cuda/cuda_forward_pass.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/kernels/embedding_cuda.h"
#include "model/nn/cuda/control_transfer.h"
#include "model/nn/cuda/cuda_status.h"
#include "model/nn/cuda/device_options.h"
#include "model/nn/cuda/hidden_transfer.h"
#include "model/nn/cuda/kv_cache.h"
#include "model/nn/cuda/model_weights.h"
#include "model/nn/cuda/step_graphs.h"
#include "model/nn/cuda/step_transfer.h"
#include "model/nn/cuda/uploader.h"
#include "model/nn/cuda/weight_reader.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::kBlockTokens;

WeightPlacer::Formats FormatsOf(const LoadOptions& options) {
  return {.weights = options.weights_dtype,
          .experts = options.expert_dtype,
          .activations = ActivationsOf(options)};
}

int BlocksOfContext(const ModelPlan& plan) {
  return (plan.max_positions + kBlockTokens - 1) / kBlockTokens;
}

Workspace::Shape WorkspaceShape(const ModelPlan& plan, const ModelWeights& weights,
                                const LoadOptions& options) {
  const LayerNeeds needs =
      weights.Needs(options.max_step_tokens, BlocksOfContext(plan) * kBlockTokens);
  return {.widths = plan.Buffers(),
          .activations = ActivationsOf(options),
          .hidden_size = plan.hidden_size,
          .vocab_size = plan.vocab_size,
          .max_tokens = options.max_step_tokens,
          .most_ffns = needs.most_ffns,
          .scratch_bytes = needs.scratch_bytes};
}

ExpertCounters CountersOf(const ModelPlan& plan, const LoadOptions& options) {
  return ExpertCounters(plan.ExpertLayers(), {.count = options.count_experts,
                                              .trace = options.trace_experts,
                                              .max_tokens = options.max_step_tokens});
}

// Blocks that fit, but no more than all slots can use.
int NumBlocks(const ModelPlan& plan, size_t block_bytes, const LoadOptions& options) {
  const int64_t fitting = options.kv_cache_bytes / static_cast<int64_t>(block_bytes);
  return static_cast<int>(
      std::min<int64_t>(fitting, int64_t{BlocksOfContext(plan)} * options.num_slots));
}

// A step of prompts that asks for everything of every token. Block tables are as large as they
// usually are.
StepShape PromptShape(const ModelPlan& plan, const LoadOptions& options, int tokens) {
  constexpr int kMostTableEntries = 1 << 20;
  const int blocks = BlocksOfContext(plan);
  return {.tokens = tokens,
          .rows = tokens,
          .scores = tokens,
          .alternatives = tokens * std::min(OutputRows::kMaxAlternatives, plan.vocab_size),
          .sequences = std::clamp(kMostTableEntries / blocks, 1, options.num_slots),
          .max_blocks = blocks,
          .items = tokens};
}

// Of every step that room is made for.
std::vector<StepShape> Shapes(const ModelPlan& plan, const LoadOptions& options,
                              const StepGraphs& graphs) {
  std::vector<StepShape> shapes = graphs.shapes();
  shapes.push_back(PromptShape(plan, options, options.max_step_tokens));
  return shapes;
}

// What enters the first layer, what is behind each, and what the output head reads.
int HiddenLayers(const ModelPlan& plan) { return static_cast<int>(plan.blocks.size()) + 2; }

StepGraphs GraphsOf(const ModelPlan& plan, const LoadOptions& options) {
  return StepGraphs(std::min(options.num_slots, options.max_step_tokens), BlocksOfContext(plan),
                    plan.vocab_size);
}

// On the device, beside the workspace.
size_t TransferBytes(const ModelPlan& plan, const LoadOptions& options) {
  const int tokens = options.max_step_tokens;
  return StepTransfer::ReservedBytes(Shapes(plan, options, GraphsOf(plan, options))) +
         ControlTransfer(plan.ExpertLayers()).ReservedBytes(tokens) +
         HiddenTransfer::ReservedBytes(tokens, HiddenLayers(plan), plan.hidden_size);
}

struct StreamDestroyer {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<CUstream_st, StreamDestroyer>;

class CudaForwardPass final : public ForwardPass {
 public:
  CudaForwardPass(const ModelPlan& plan, const LoadOptions& options)
      : ordinal_(OrdinalOf(options.device)),
        activations_(ActivationsOf(options)),
        kv_cache_(plan, KvTypeOf(options)),
        counters_(CountersOf(plan, options)),
        control_(plan.ExpertLayers()),
        graphs_(GraphsOf(plan, options)),
        controlled_graphs_(GraphsOf(plan, options)) {
    facts_ = {.device = absl::StrCat("cuda:", ordinal_),
              .kv_block_bytes = kv_cache_.block_bytes(),
              .kv_block_tokens = kBlockTokens,
              .num_kv_blocks = NumBlocks(plan, kv_cache_.block_bytes(), options),
              .takes_expert_control = true};
  }

  // Members that follow give their memory back to this device.
  ~CudaForwardPass() override { cudaSetDevice(ordinal_); }

  absl::Status Load(const ModelPlan& plan, const Checkpoint& checkpoint,
                    const LoadOptions& options) {
    RETURN_IF_CUDA_ERROR(cudaSetDevice(ordinal_));
    cudaDeviceProp properties;
    RETURN_IF_CUDA_ERROR(cudaGetDeviceProperties(&properties, ordinal_));
    facts_.kernel_target = absl::StrCat("sm_", properties.major, properties.minor);
    cudaStream_t stream = nullptr;
    RETURN_IF_CUDA_ERROR(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    stream_.reset(stream);
    RETURN_IF_ERROR(LoadWeights(plan, checkpoint, options));
    RETURN_IF_ERROR(LayBuffers(plan, options));
    const int few = std::min(options.max_step_tokens, kMostStreamedRows + 1);
    RETURN_IF_ERROR(WarmUp(plan, PromptShape(plan, options, few)));
    return CaptureGraphs();
  }

  const DeviceFacts& facts() const override { return facts_; }

  absl::Status Run(const StepBatch& batch, absl::Span<Slot> slots, OutputRows& rows,
                   HiddenRows& hidden) override {
    absl::Status status = RunStep(batch, slots, rows, hidden);
    if (status.ok() || status.code() == absl::StatusCode::kUnavailable) return status;
    return AfterFailure(status);
  }

  absl::Span<const ExpertPicks> Picks() override { return counters_.Picks(tokens_); }
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override {
    cudaSetDevice(ordinal_);
    return counters_.Read(expert_layer, counts, stream_.get());
  }
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override {
    cudaSetDevice(ordinal_);
    counters_.ReadSubKeys(expert_layer, counts, stream_.get());
  }
  void ClearUsage() override {
    cudaSetDevice(ordinal_);
    counters_.Clear(stream_.get());
  }

 private:
  absl::Status RunStep(const StepBatch& batch, absl::Span<Slot> slots, OutputRows& rows,
                       HiddenRows& hidden) {
    RETURN_IF_CUDA_ERROR(cudaSetDevice(ordinal_));
    RETURN_IF_ERROR(CopyBlocks(batch));
    StepShape shape = ShapeOf(batch, rows);
    const int graph = hidden.empty() ? graphs_.Find(batch, shape) : -1;
    if (graph >= 0) shape = graphs_.shapes()[graph];
    RETURN_IF_ERROR(transfer_.Describe(shape, batch, slots, rows, stream_.get()));
    RETURN_IF_ERROR(hidden_.Describe(hidden, stream_.get()));
    RETURN_IF_ERROR(control_.Describe(shape.tokens, batch, stream_.get()));
    if (moves() != captured_moves_) RETURN_IF_ERROR(CaptureGraphs());
    const StepGraphs& graphs = control_.of_step().empty() ? graphs_ : controlled_graphs_;
    RETURN_IF_ERROR(graph >= 0 ? graphs.Launch(graph, stream_.get())
                               : Enqueue(shape, hidden, control_.of_step()));
    tokens_ = batch.size();
    RETURN_IF_ERROR(transfer_.Fetch(shape, stream_.get()));
    RETURN_IF_ERROR(FetchPicks(batch));
    RETURN_IF_CUDA_ERROR(cudaStreamSynchronize(stream_.get()));
    transfer_.Report(shape, slots, rows);
    hidden_.Report(hidden);
    return absl::OkStatus();
  }

  // Waits for what the step had enqueued, before the next one writes where that reads. An error
  // that does not tell by itself (a library's) is one of a lost device when no later call works
  // either.
  static absl::Status AfterFailure(const absl::Status& failure) {
    cudaGetLastError();  // reported by now: nobody shall find it later
    const cudaError_t error = cudaDeviceSynchronize();
    if (error == cudaSuccess) return failure;
    return absl::UnavailableError(absl::StrCat("the device is lost: ", failure.message(), "; then ",
                                               cudaGetErrorString(error)));
  }

  absl::Status LoadWeights(const ModelPlan& plan, const Checkpoint& checkpoint,
                           const LoadOptions& options) {
    std::vector<WeightPlacer::Read> reads;
    const auto place = [&](Arena& arena) {
      WeightPlacer placer(checkpoint, FormatsOf(options), arena);
      weights_ = ModelWeights::Place(plan, placer);
      facts_.weights_bytes = arena.used();
      facts_.weights_dtype = std::string(placer.dominant_dtype());
      reads = placer.reads();
    };
    ASSIGN_OR_RETURN(weights_memory_, AllocateFor(MemoryKind::kDevice, place));
    ASSIGN_OR_RETURN(Uploader uploader, Uploader::Make(stream_.get()));
    WeightReader reader(checkpoint, uploader, options.progress);
    for (const WeightPlacer::Read& read : reads) RETURN_IF_ERROR(read(reader));
    return uploader.Finish();
  }

  // Everything but the weights.
  absl::Status LayBuffers(const ModelPlan& plan, const LoadOptions& options) {
    ASSIGN_OR_RETURN(kv_memory_, AllocateFor(MemoryKind::kDevice, [&](Arena& arena) {
                       kv_cache_.Lay(facts_.num_kv_blocks, arena);
                     }));
    const Workspace::Shape shape = WorkspaceShape(plan, *weights_, options);
    ASSIGN_OR_RETURN(workspace_memory_, AllocateFor(MemoryKind::kDevice, [&](Arena& arena) {
                       workspace_.Lay(shape, arena);
                     }));
    ASSIGN_OR_RETURN(counters_memory_, AllocateFor(MemoryKind::kDevice, [&](Arena& arena) {
                       counters_.LayCounters(arena);
                     }));
    ASSIGN_OR_RETURN(picks_memory_, AllocateFor(MemoryKind::kDevice,
                                                [&](Arena& arena) { counters_.LayPicks(arena); }));
    ASSIGN_OR_RETURN(host_picks_memory_, AllocateFor(MemoryKind::kPinned, [&](Arena& arena) {
                       counters_.LayHostPicks(arena);
                     }));
    if (!options.cuda_batch_invariant) {
      ASSIGN_OR_RETURN(Matmul matmul, Matmul::Make(workspace_.matmul));
      matmul_.emplace(std::move(matmul));
    }
    const int tokens = options.max_step_tokens;
    RETURN_IF_ERROR(control_.Reserve(tokens));
    RETURN_IF_ERROR(hidden_.Reserve(tokens, HiddenLayers(plan), plan.hidden_size));
    return transfer_.Reserve(Shapes(plan, options, graphs_));
  }

  // Of what graphs know the addresses of.
  int moves() const { return transfer_.moves() + control_.moves(); }

  // For the addresses as they are. Steps that ask nothing of routers have graphs without the
  // kernels that others need.
  absl::Status CaptureGraphs() {
    captured_moves_ = -1;
    RETURN_IF_ERROR(graphs_.Capture(stream_.get(), [this](const StepShape& shape) {
      return Enqueue(shape, HiddenRows(0), /*controls=*/{});
    }));
    if (control_.has_layers()) {
      RETURN_IF_ERROR(controlled_graphs_.Capture(stream_.get(), [this](const StepShape& shape) {
        return Enqueue(shape, HiddenRows(0), control_.OfAnyStep(shape.tokens));
      }));
    }
    captured_moves_ = moves();
    return absl::OkStatus();
  }

  // Runs steps of nothing but padding: what the libraries load when they meet a kernel for the
  // first time must not happen in a capture, and a device that the kernels are not for is found
  // here.
  absl::Status WarmUp(const ModelPlan& plan, const StepShape& large) {
    StepBatch nothing(kBlockTokens);
    nothing.Assign({});
    OutputRows no_rows(plan.vocab_size);
    no_rows.Assign({}, nothing);
    for (const StepShape& shape : {graphs_.shapes().front(), large}) {
      RETURN_IF_ERROR(transfer_.Describe(shape, nothing, {}, no_rows, stream_.get()));
      RETURN_IF_ERROR(Enqueue(shape, HiddenRows(0), /*controls=*/{}));
      if (control_.has_layers()) {
        RETURN_IF_ERROR(control_.Clear(shape.tokens, stream_.get()));
        RETURN_IF_ERROR(Enqueue(shape, HiddenRows(0), control_.OfAnyStep(shape.tokens)));
      }
      RETURN_IF_CUDA_ERROR(cudaStreamSynchronize(stream_.get()));
    }
    return absl::OkStatus();
  }

  absl::Status CopyBlocks(const StepBatch& batch) {
    const size_t bytes = kv_cache_.block_bytes();
    for (const BlockCopy& copy : batch.copies()) {
      RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(kv_cache_.data() + copy.to * bytes,
                                           kv_cache_.data() + copy.from * bytes, bytes,
                                           cudaMemcpyDeviceToDevice, stream_.get()));
    }
    return absl::OkStatus();
  }

  absl::Status Enqueue(const StepShape& shape, const HiddenRows& hidden,
                       absl::Span<const kernels::cuda::RouterControls> controls) {
    const StepArrays arrays = transfer_.arrays(shape);
    const ResultArrays results = transfer_.results(shape);
    StepContext step{.stream = stream_.get(),
                     .workspace = workspace_,
                     .shape = shape,
                     .arrays = arrays,
                     .results = results,
                     .residual = ResidualStream(workspace_.residual, weights_->embedding.depth),
                     .counters = counters_,
                     .controls = controls,
                     .matmul = matmul_.has_value() ? &*matmul_ : nullptr,
                     .activations = activations_};
    const Matrix& embedding = weights_->embedding;
    step.Launch(kernels::cuda::Embed, {.table = embedding.data,
                                       .table_type = embedding.type,
                                       .tokens = arrays.tokens,
                                       .x = workspace_.residual,
                                       .count = shape.tokens,
                                       .width = embedding.depth});
    KeepResidual(step, hidden, 0);
    const int layers = static_cast<int>(weights_->blocks.size());
    for (int i = 0; i < layers; ++i) {
      weights_->blocks[i].Forward(step, kv_cache_.layer(i));
      KeepResidual(step, hidden, i + 1);
    }
    const HiddenTransfer::Rows normed = hidden_.RowsOf(hidden, layers + 1);
    weights_->head.Normalize(step, normed.tokens, normed.count, normed.values);
    step.Then([&] { return hidden_.Fetch(hidden, layers + 1, step.stream); });
    weights_->head.Forward(step, transfer_.lists());
    return step.status;
  }

  void KeepResidual(StepContext& step, const HiddenRows& hidden, int layer) {
    CopyResidual(step, hidden_.RowsOf(hidden, layer), hidden.width());
    step.Then([&] { return hidden_.Fetch(hidden, layer, step.stream); });
  }

  // Where somebody wants them.
  absl::Status FetchPicks(const StepBatch& batch) {
    const auto traces = [](const Chunk& chunk) { return chunk.trace; };
    if (std::none_of(batch.chunks().begin(), batch.chunks().end(), traces)) return absl::OkStatus();
    return counters_.FetchPicks(batch.size(), stream_.get());
  }

  DeviceFacts facts_;
  const int ordinal_;
  const DeviceFloat activations_;
  Stream stream_;
  Memory weights_memory_, kv_memory_, workspace_memory_, counters_memory_, picks_memory_;
  Memory host_picks_memory_;
  std::optional<ModelWeights> weights_;
  KvCache kv_cache_;
  Workspace workspace_;
  ExpertCounters counters_;
  std::optional<Matmul> matmul_;
  StepTransfer transfer_;
  HiddenTransfer hidden_;
  ControlTransfer control_;
  StepGraphs graphs_, controlled_graphs_;  // of the same shapes
  int captured_moves_ = -1;                // when graphs were captured; -1: they are not whole
  int tokens_ = 0;                         // of the last step
};

}  // namespace

absl::StatusOr<MemoryNeeds> MemoryNeedsOf(const ModelPlan& plan, const Checkpoint& checkpoint,
                                          const LoadOptions& options) {
  RETURN_IF_CUDA_ERROR(cudaSetDevice(OrdinalOf(options.device)));
  size_t free = 0, total = 0;
  RETURN_IF_CUDA_ERROR(cudaMemGetInfo(&free, &total));
  Arena sizes;
  WeightPlacer placer(checkpoint, FormatsOf(options), sizes);
  const ModelWeights weights = ModelWeights::Place(plan, placer);
  const Workspace::Shape shape = WorkspaceShape(plan, weights, options);
  Workspace workspace;
  ExpertCounters counters = CountersOf(plan, options);
  return MemoryNeeds{
      .weights_bytes = sizes.used(),
      .workspace_bytes = BytesFor([&](Arena& arena) { workspace.Lay(shape, arena); }) +
                         TransferBytes(plan, options),
      .picks_bytes = BytesFor([&](Arena& arena) { counters.LayPicks(arena); }),
      .counters_bytes = BytesFor([&](Arena& arena) { counters.LayCounters(arena); }),
      .kv_block_bytes = KvCache(plan, KvTypeOf(options)).block_bytes(),
      .kv_block_tokens = kBlockTokens,
      .device_free_bytes = free,
      .conversions = placer.conversions()};
}

absl::StatusOr<std::unique_ptr<ForwardPass>> LoadForwardPass(const ModelPlan& plan,
                                                             const Checkpoint& checkpoint,
                                                             const LoadOptions& options) {
  RETURN_IF_ERROR(CheckLoadable(plan, options));
  auto pass = std::make_unique<CudaForwardPass>(plan, options);
  RETURN_IF_ERROR(pass->Load(plan, checkpoint, options));
  return pass;
}

}  // namespace peerage::nn::cuda
