#include "model/kernels/output_head_cuda.h"
#include "model/kernels/output_head_stages_cuda.h"

namespace peerage::kernels::cuda {
namespace {

// Hands out parts of a buffer, or only counts them when it is null.
class Parts {
 public:
  explicit Parts(uint8_t* buffer) : buffer_(buffer) {}

  template <typename T>
  T* Take(size_t count) {
    constexpr size_t kAlignment = 32;
    T* part = reinterpret_cast<T*>(buffer_ + taken_);
    taken_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  size_t taken() const { return taken_; }

 private:
  uint8_t* buffer_;
  size_t taken_ = 0;
};

ReportScratch LayOut(int vocabulary, int count, Parts& parts) {
  const int chunks = (vocabulary + kChunkTokens - 1) / kChunkTokens;
  const int stride = (vocabulary + 3) / 4 * 4;
  const size_t rows = count, all_chunks = rows * chunks, all_tokens = rows * stride;
  ReportScratch scratch;
  scratch.summaries = parts.Take<ChunkSummary>(all_chunks);
  scratch.best = parts.Take<uint64_t>(all_chunks * kMostAlternatives);
  scratch.units = parts.Take<uint64_t>(all_chunks);
  scratch.histograms = parts.Take<RowHistogram>(rows);
  scratch.cuts = parts.Take<Cut>(rows);
  scratch.candidate_counts = parts.Take<uint32_t>(rows);
  scratch.candidates = parts.Take<uint32_t>(all_tokens);
  scratch.edited = parts.Take<float>(all_tokens);
  scratch.masked = parts.Take<uint32_t>(all_chunks * (kChunkTokens / 32));
  scratch.chunks = chunks;
  scratch.stride = stride;
  return scratch;
}

}  // namespace

size_t ReportScratchBytes(int vocabulary, int count) {
  Parts parts(nullptr);
  LayOut(vocabulary, count, parts);
  return parts.taken();
}

cudaError_t ReportRows(const ReportRowsArgs& args, cudaStream_t stream) {
  constexpr int kMostRows = 65535;  // of a grid
  if (args.vocabulary < 1 || args.vocabulary > kMostTokens || args.count > kMostRows) {
    return cudaErrorInvalidValue;
  }
  if (args.count == 0) return cudaSuccess;
  Parts parts(args.scratch);
  const bool aligned =
      args.vocabulary % 4 == 0 && reinterpret_cast<uintptr_t>(args.logits) % 16 == 0;
  const StageArgs stages = {args, LayOut(args.vocabulary, args.count, parts), aligned};
  for (const auto stage : {Scan, Weigh, Gather, Finish, Rank}) {
    if (const cudaError_t error = stage(stages, stream); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace peerage::kernels::cuda
