// Kernels on a CUDA device at the shapes of real models, by events: time, the bytes that they must
// move at least, and these bytes' share of the rate at which the device copies, measured in the
// same run. Weights are random and every call finds other ones, so that they come from memory.
// Prints one JSON object. It needs a GPU; on tests/cuda/standin times say nothing.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/kernels/cuda_timing.h"
#include "model/kernels/attention_cuda.h"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/float16.h"
#include "model/kernels/linear_cuda.h"
#include "model/kernels/norm_cuda.h"
#include "model/kernels/output_head_cuda.h"
#include "model/kernels/product_keys_cuda.h"
#include "nlohmann/json.hpp"

namespace peerage::kernels::cuda {
namespace {

struct Options {
  int width = 2048;
  int log2_experts = 20;
  int heads = 8;  // of retrieval
  int top_k = 16;
  int key_dim = 256;
  int attention_heads = 16;
  int kv_heads = 4;
  int head_dim = 128;
  int context = 2048;
  int vocabulary = 49152;
  std::vector<int> rows = {1, 16, 64};
  int repetitions = 20;
  int cold_mib = 512;  // what calls take turns in; several times a cache
};

struct Measurement {
  std::string kernel;
  int rows = 0;
  double microseconds = 0;
  double bytes = 0;  // at least
  double flops = 0;  // 0: bytes decide
};

class KernelsBench {
 public:
  explicit KernelsBench(const Options& options)
      : options_(options), timer_(options.repetitions), random_(1) {
    std::normal_distribution<float> normal;
    floats_.resize(size_t{1} << 20);
    for (float& x : floats_) x = normal(random_);
    for (const float x : floats_) halves_.push_back(BF16FromF32(x));
  }

  nlohmann::json Run() {
    const double copy_rate = CopyRate();
    std::vector<Measurement> all;
    for (const int rows : options_.rows) {
      all.push_back(Select(rows));
      all.push_back(Experts(rows, ExpertFormat::kBF16));
      all.push_back(Experts(rows, ExpertFormat::kInt8));
      all.push_back(AddHeadsAndNormalize(rows));
      all.push_back(AttendDecode(rows));
      all.push_back(MultiplyRows("linear", rows, options_.width));
      all.push_back(MultiplyRows("linear of the head", rows, options_.vocabulary));
      all.push_back(Report("head, greedy", rows, {.temperature = 0}));
      all.push_back(Report("head, top-p", rows, {.temperature = 1, .top_p = 0.95f}));
    }
    all.push_back(AttendPrefill());
    nlohmann::json result = {{"copy_bytes_per_second", copy_rate}};
    for (const Measurement& m : all) {
      nlohmann::json row = {{"kernel", m.kernel},
                            {"rows", m.rows},
                            {"microseconds", m.microseconds},
                            {"bytes", m.bytes},
                            {"share_of_copy_rate", m.bytes / m.microseconds * 1e6 / copy_rate}};
      if (m.flops != 0) row["flops_per_second"] = m.flops / m.microseconds * 1e6;
      result["kernels"].push_back(row);
    }
    return result;
  }

 private:
  DeviceBuffer Floats(size_t count) const {
    DeviceBuffer buffer(count * sizeof(float));
    buffer.Repeat(floats_.data(), floats_.size() * sizeof(float));
    return buffer;
  }
  DeviceBuffer Halves(size_t count) const {
    DeviceBuffer buffer(count * sizeof(uint16_t));
    buffer.Repeat(halves_.data(), halves_.size() * sizeof(uint16_t));
    return buffer;
  }
  static DeviceBuffer Positions(int rows) { return DeviceBuffer::Of(std::vector<int32_t>(rows)); }
  size_t cold_bytes() const { return size_t(options_.cold_mib) << 20; }

  // Bytes read and written a second by copies within the device.
  double CopyRate() {
    const DeviceBuffer from = Floats(cold_bytes() / sizeof(float)), to(cold_bytes());
    const double microseconds = timer_.Microseconds([&](int, cudaStream_t stream) {
      return cudaMemcpyAsync(to.As(), from.As(), from.bytes(), cudaMemcpyDeviceToDevice, stream);
    });
    return 2.0 * from.bytes() / microseconds * 1e6;
  }

  Measurement Select(int rows) {
    const ProductKeyShape shape{.heads = options_.heads,
                                .top_k = options_.top_k,
                                .num_sub_keys = 1 << (options_.log2_experts / 2),
                                .half_width = options_.key_dim / 2,
                                .sets = 2};
    const size_t picks = size_t(rows) * shape.heads * shape.top_k;
    const DeviceBuffer queries = Floats(size_t(rows) * shape.heads * options_.key_dim);
    const DeviceBuffer keys = Halves(size_t{2} * shape.num_sub_keys * shape.half_width);
    const DeviceBuffer positions = Positions(rows), ids(4 * picks), weights(4 * picks);
    const DeviceBuffer scratch(std::max<size_t>(SelectScratchBytes(shape, rows), 1));
    const SelectExpertsArgs args{.shape = shape,
                                 .queries = queries.As<float>(),
                                 .sub_keys = keys.As(),
                                 .positions = positions.As<int32_t>(),
                                 .ids = ids.As<uint32_t>(),
                                 .weights = weights.As<float>(),
                                 .count = rows,
                                 .scratch = scratch.As<uint8_t>()};
    const double time =
        timer_.Microseconds([&](int, cudaStream_t stream) { return SelectExperts(args, stream); });
    const double multiply_adds =
        double(rows) * shape.heads * 2 * shape.num_sub_keys * shape.half_width;
    return {.kernel = "select",
            .rows = rows,
            .microseconds = time,
            .bytes = double(queries.bytes() + keys.bytes() + 8 * picks),
            .flops = 2 * multiply_adds};
  }

  Measurement Experts(int rows, ExpertFormat format) {
    ExpertTable table{.format = format,
                      .width = options_.width,
                      .num_experts = int64_t{1} << options_.log2_experts};
    const DeviceBuffer records = Halves(table.Bytes() / sizeof(uint16_t));
    table.records = records.As<uint8_t>();
    const size_t picks = size_t(rows) * options_.heads * options_.top_k;
    std::vector<uint32_t> picked(picks * timer_.calls());
    for (uint32_t& id : picked) id = random_() & (table.num_experts - 1);
    const DeviceBuffer ids = DeviceBuffer::Of(picked), weights = Floats(picks);
    const DeviceBuffer x = Halves(size_t(rows) * options_.width);
    const DeviceBuffer partials(size_t(rows) * options_.heads * options_.width * sizeof(float));
    const double time = timer_.Microseconds([&](int call, cudaStream_t stream) {
      return RunExperts({.table = table,
                         .heads = options_.heads,
                         .top_k = options_.top_k,
                         .x = x.As(),
                         .x_stride = size_t(options_.width),
                         .ids = ids.As<uint32_t>() + call * picks,
                         .weights = weights.As<float>(),
                         .partials = partials.As<float>(),
                         .count = rows},
                        stream);
    });
    return {.kernel = format == ExpertFormat::kInt8 ? "experts, int8" : "experts, bf16",
            .rows = rows,
            .microseconds = time,
            .bytes = double(picks * table.RecordBytes() + x.bytes() + partials.bytes())};
  }

  AttentionShape attention_shape() const {
    return {.heads = options_.attention_heads,
            .kv_heads = options_.kv_heads,
            .head_dim = options_.head_dim,
            .scale = 0.1f};
  }

  // One token of each of so many sequences at the end of the context.
  Measurement AddHeadsAndNormalize(int rows) {
    const auto width = static_cast<size_t>(options_.width);
    const size_t elements = rows * width;
    const DeviceBuffer sums = Floats(elements * options_.heads), x = Floats(elements);
    const DeviceBuffer weight = Floats(width), y(elements * sizeof(uint16_t));
    const RowParts added{.parts = sums.As<float>(),
                         .part_stride = width,
                         .row_stride = options_.heads * width,
                         .count = options_.heads};
    const NormArgs args{.x = x.As(),
                        .x_stride = width,
                        .weight = weight.As<float>(),
                        .y = y.As(),
                        .y_stride = width,
                        .sums = x.As<float>(),
                        .count = rows,
                        .width = options_.width};
    const double time = timer_.Microseconds(
        [&](int, cudaStream_t stream) { return NormOfSum(args, added, stream); });
    return {.kernel = "norm of the sum of heads",
            .rows = rows,
            .microseconds = time,
            .bytes = double(sums.bytes() + 2 * x.bytes() + y.bytes())};
  }

  Measurement AttendDecode(int rows) {
    std::vector<AttentionItem> items(rows);
    for (int i = 0; i < rows; ++i) {
      items[i] = {.token = i, .tokens = 1, .position = options_.context - 1, .sequence = i};
    }
    const int splits = (options_.context + kSplitTokens - 1) / kSplitTokens;
    return Attend("attention, decode", items, rows, rows, splits);
  }

  Measurement AttendPrefill() {
    std::vector<AttentionItem> items;
    for (int first = 0; first < options_.context; first += kAttentionItemTokens) {
      items.push_back({.token = first,
                       .tokens = std::min(kAttentionItemTokens, options_.context - first),
                       .position = first});
    }
    Measurement m = Attend("attention, prefill", items, options_.context, 1, 0);
    const double pairs = 0.5 * options_.context * (options_.context + 1.0);
    m.flops = 4 * pairs * options_.attention_heads * options_.head_dim;
    return m;
  }

  Measurement Attend(const char* name, const std::vector<AttentionItem>& item_list, int rows,
                     int sequences, int splits) {
    const AttentionShape shape = attention_shape();
    const size_t block = KvBlockElements(shape), width = size_t(shape.heads) * shape.head_dim;
    const size_t blocks_each = (options_.context + kBlockTokens - 1) / kBlockTokens;
    const size_t step_blocks = sequences * blocks_each;
    const size_t blocks = std::max(step_blocks, cold_bytes() / (block * sizeof(uint16_t)));
    std::vector<int32_t> tables(step_blocks * timer_.calls());
    for (size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<int32_t>(i % blocks);
    const DeviceBuffer kv = Halves(blocks * block), q = Floats(rows * width), out(rows * width * 2);
    const DeviceBuffer table = DeviceBuffer::Of(tables), items = DeviceBuffer::Of(item_list);
    const DeviceBuffer partials(
        std::max<size_t>(sizeof(float) * AttentionPartialFloats(shape, rows, splits), 1));
    const double time = timer_.Microseconds([&](int call, cudaStream_t stream) {
      return Attention({.shape = shape,
                        .q = q.As<float>(),
                        .q_stride = width,
                        .cache = {.kv = kv.As(), .block_stride = block},
                        .block_table = table.As<int32_t>() + call * step_blocks,
                        .max_blocks = static_cast<int>(blocks_each),
                        .items = items.As<AttentionItem>(),
                        .num_items = static_cast<int>(item_list.size()),
                        .out = out.As(),
                        .splits = splits,
                        .count = rows,
                        .partials = partials.As<float>()},
                       stream);
    });
    const double cache_bytes = double(sequences) * options_.context * block / kBlockTokens * 2;
    return {.kernel = name,
            .rows = rows,
            .microseconds = time,
            .bytes = cache_bytes + q.bytes() + out.bytes()};
  }

  Measurement MultiplyRows(const char* name, int rows, int outputs) {
    const LinearShape shape{.outputs = outputs, .depth = options_.width};
    const size_t elements = size_t(outputs) * options_.width;
    const size_t copies = std::max<size_t>(1, cold_bytes() / (2 * elements));
    const DeviceBuffer w = Halves(copies * elements), x = Halves(size_t(rows) * options_.width);
    const DeviceBuffer y(size_t(rows) * outputs * sizeof(float));
    const DeviceBuffer scratch(
        std::max<size_t>(sizeof(float) * LinearScratchFloats(shape, rows), 1));
    const double time = timer_.Microseconds([&](int call, cudaStream_t stream) {
      return Linear({.shape = shape,
                     .w = w.As<uint16_t>() + call % copies * elements,
                     .x = x.As(),
                     .x_stride = size_t(options_.width),
                     .y = y.As<float>(),
                     .y_stride = size_t(outputs),
                     .rows = rows,
                     .scratch = scratch.As<float>()},
                    stream);
    });
    return {.kernel = name,
            .rows = rows,
            .microseconds = time,
            .bytes = double(2 * elements + x.bytes() + y.bytes())};
  }

  // `request` says how to sample; each row reports its token and log-probability.
  Measurement Report(const char* name, int rows, RowRequest request) {
    std::vector<RowRequest> requests;
    for (int row = 0; row < rows; ++row) {
      request.token_row = request.first_score = row;
      request.sample = request.scores = 1;
      request.alternatives = 0;
      request.random = random_();
      requests.push_back(request);
    }
    const DeviceBuffer logits = Floats(size_t(rows) * options_.vocabulary);
    const DeviceBuffer asked = DeviceBuffer::Of(requests);
    const DeviceBuffer scores(rows * sizeof(DeviceScore)), failed(rows * sizeof(int32_t));
    const DeviceBuffer scratch(ReportScratchBytes(options_.vocabulary, rows));
    const DeviceBuffer unused = Positions(1);
    const ReportRowsArgs args{.logits = logits.As<float>(),
                              .vocabulary = options_.vocabulary,
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
        timer_.Microseconds([&](int, cudaStream_t stream) { return ReportRows(args, stream); });
    return {.kernel = name, .rows = rows, .microseconds = time, .bytes = double(logits.bytes())};
  }

  const Options& options_;
  CudaTimer timer_;
  std::mt19937_64 random_;
  std::vector<float> floats_;
  std::vector<uint16_t> halves_;
};

}  // namespace
}  // namespace peerage::kernels::cuda

int main(int argc, char** argv) {
  peerage::kernels::cuda::Options options;
  CLI::App app("Measures CUDA kernels");
  app.add_option("--width", options.width)->check(CLI::PositiveNumber);
  app.add_option("--log2-experts", options.log2_experts, "Even")->check(CLI::Range(2, 30));
  app.add_option("--heads", options.heads)->check(CLI::PositiveNumber);
  app.add_option("--top-k", options.top_k)->check(CLI::Range(1, 128));
  app.add_option("--key-dim", options.key_dim)->check(CLI::Range(2, 2048));
  app.add_option("--attention-heads", options.attention_heads)->check(CLI::PositiveNumber);
  app.add_option("--kv-heads", options.kv_heads)->check(CLI::PositiveNumber);
  app.add_option("--head-dim", options.head_dim)->check(CLI::Range(1, 256));
  app.add_option("--context", options.context)->check(CLI::PositiveNumber);
  app.add_option("--vocabulary", options.vocabulary)->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows)->delimiter(',');
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--cold-mib", options.cold_mib)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  std::cout << peerage::kernels::cuda::KernelsBench(options).Run().dump(2) << "\n";
}
