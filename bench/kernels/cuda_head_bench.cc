// From logits to tokens.
#include "bench/kernels/cuda_bench.h"
#include "model/kernels/output_head_cuda.h"

namespace peerage::kernels::cuda {
namespace {

// `request` says how to sample; each row reports its token and log-probability.
Measurement Report(CudaBench& bench, const char* name, int rows, RowRequest request) {
  const int vocabulary = bench.shapes.vocabulary;
  std::vector<RowRequest> requests;
  for (int row = 0; row < rows; ++row) {
    request.token_row = request.first_score = row;
    request.sample = request.scores = 1;
    request.alternatives = 0;
    request.random = bench.Random();
    requests.push_back(request);
  }
  const DeviceBuffer logits = bench.Floats(size_t(rows) * vocabulary);
  const DeviceBuffer asked = DeviceBuffer::Of(requests);
  const DeviceBuffer scores(rows * sizeof(DeviceScore)), failed(rows * sizeof(int32_t));
  const DeviceBuffer scratch = Scratch(ReportScratchBytes(vocabulary, rows));
  const DeviceBuffer unused = Zeros(sizeof(TokenBias));
  const ReportRowsArgs args{.logits = logits.As<float>(),
                            .vocabulary = vocabulary,
                            .requests = asked.As<RowRequest>(),
                            .count = rows,
                            .targets = unused.As<uint32_t>(),
                            .biases = unused.As<TokenBias>(),
                            .seen = unused.As<SeenToken>(),
                            .masked = unused.As<uint32_t>(),
                            .scores = scores.As<DeviceScore>(),
                            .alternatives = unused.As<DeviceAlternative>(),
                            .failed = failed.As<int32_t>(),
                            .scratch = scratch.As<uint8_t>()};
  const double time =
      bench.timer.Microseconds([&](int, cudaStream_t stream) { return ReportRows(args, stream); });
  return {.kernel = name, .rows = rows, .microseconds = time, .bytes = double(logits.bytes())};
}

}  // namespace

void MeasureHead(CudaBench& bench, int rows, Measurements& all) {
  all.push_back(Report(bench, "head, greedy", rows, {.temperature = 0}));
  all.push_back(Report(bench, "head, top-p", rows, {.temperature = 1, .top_p = 0.95f}));
}

}  // namespace peerage::kernels::cuda
