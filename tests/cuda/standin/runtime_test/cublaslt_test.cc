// The stand-in's cuBLASLt: products of every kind that linear layers use against sums in double,
// what it refuses, and what it does to the workspace.
#include <cublasLt.h>

#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "tests/cuda/standin/runtime_test/runtime_test.h"

namespace peerage::standin_test {
namespace {

// One product D = alpha op(A) op(B) + beta C + bias, in the library's column-major terms.
struct Case {
  int m = 0, n = 0, k = 0;
  bool transpose_a = true, transpose_b = false;
  cudaDataType in = CUDA_R_16BF, out = CUDA_R_32F;
  float alpha = 1, beta = 0;
  bool bias = false;
  int batch = 1;
  int extra_ld = 0;
  size_t workspace = 1 << 20;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.m << "x" << c.n << "x" << c.k << (c.transpose_a ? " T" : " N")
       << (c.transpose_b ? "T" : "N") << " batch " << c.batch << " in " << c.in << " out " << c.out;
}

uint16_t Bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float Rounded(float value, cudaDataType type) {
  if (type == CUDA_R_32F) return value;
  const uint32_t bits = uint32_t{Bf16(value)} << 16;
  std::memcpy(&value, &bits, 4);
  return value;
}

// A matrix (or a batch of them) on both sides.
struct Matrix {
  Matrix(int rows, int cols, int extra_ld, int batch, cudaDataType type)
      : rows(rows), cols(cols), ld(rows + extra_ld), batch(batch), type(type) {
    values.resize(size_t(ld) * cols * batch);
    EXPECT_EQ(cudaMalloc(&device, Bytes()), cudaSuccess);
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout, type, rows, cols, ld), CUBLAS_STATUS_SUCCESS);
    const int64_t stride = int64_t{ld} * cols;
    EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                               sizeof batch),
              CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                               &stride, sizeof stride),
              CUBLAS_STATUS_SUCCESS);
  }
  ~Matrix() {
    cudaFree(device);
    cublasLtMatrixLayoutDestroy(layout);
  }

  size_t Bytes() const { return values.size() * (type == CUDA_R_32F ? 4 : 2); }
  float& At(int b, int row, int col) { return values[(size_t(b) * cols + col) * ld + row]; }
  void Upload() {
    std::vector<uint16_t> halves;
    for (float& value : values) {
      value = Rounded(value, type);
      halves.push_back(Bf16(value));
    }
    const void* from = type == CUDA_R_32F ? static_cast<const void*>(values.data()) : halves.data();
    ASSERT_EQ(cudaMemcpy(device, from, Bytes(), cudaMemcpyHostToDevice), cudaSuccess);
  }
  void Fill(std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : values) value = uniform(random);
    Upload();
  }
  void Download() {
    std::vector<uint16_t> halves(values.size());
    const bool wide = type == CUDA_R_32F;
    void* to = wide ? static_cast<void*>(values.data()) : halves.data();
    ASSERT_EQ(cudaMemcpy(to, device, Bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
    for (size_t i = 0; !wide && i < values.size(); ++i) {
      const uint32_t bits = uint32_t{halves[i]} << 16;
      std::memcpy(&values[i], &bits, 4);
    }
  }

  int rows, cols, ld, batch;
  cudaDataType type;
  std::vector<float> values;  // [batch][cols][ld]
  void* device = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;
};

class CublasLtTest : public RuntimeTest, public testing::WithParamInterface<Case> {
 protected:
  CublasLtTest() { EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS); }
  ~CublasLtTest() override { cublasLtDestroy(handle_); }

  struct Operands {
    explicit Operands(const Case& c)
        : a(c.transpose_a ? c.k : c.m, c.transpose_a ? c.m : c.k, c.extra_ld, c.batch, c.in),
          b(c.transpose_b ? c.n : c.k, c.transpose_b ? c.k : c.n, c.extra_ld, c.batch, c.in),
          c(c.m, c.n, c.extra_ld, c.batch, c.out),
          d(c.m, c.n, 0, c.batch, c.out),
          bias(c.m, 1, 0, 1, c.out) {
      EXPECT_EQ(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                CUBLAS_STATUS_SUCCESS);
      Set(CUBLASLT_MATMUL_DESC_TRANSA, c.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
      Set(CUBLASLT_MATMUL_DESC_TRANSB, c.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
      if (c.bias) {
        Set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.device);
      }
    }
    ~Operands() { cublasLtMatmulDescDestroy(desc); }
    template <typename T>
    void Set(cublasLtMatmulDescAttributes_t attribute, T value) {
      EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value),
                CUBLAS_STATUS_SUCCESS);
    }

    Matrix a, b, c, d, bias;
    cublasLtMatmulDesc_t desc = nullptr;
  };

  cublasStatus_t FindAlgorithm(Operands& o, size_t workspace) {
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &workspace, sizeof workspace);
    int found = -1;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, o.desc, o.a.layout, o.b.layout, o.c.layout,
                                       o.d.layout, preference, 1, &result_, &found);
    EXPECT_EQ(found, status == CUBLAS_STATUS_SUCCESS ? 1 : 0);
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
  }
  cublasStatus_t Multiply(Operands& o, const Case& c, void* workspace) {
    return cublasLtMatmul(handle_, o.desc, &c.alpha, o.a.device, o.a.layout, o.b.device, o.b.layout,
                          &c.beta, o.c.device, o.c.layout, o.d.device, o.d.layout, &result_.algo,
                          workspace, c.workspace, stream_);
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulHeuristicResult_t result_ = {};
};

TEST_P(CublasLtTest, EqualsSumsInDouble) {
  const Case& c = GetParam();
  std::mt19937 random(7);
  Operands o(c);
  for (Matrix* matrix : {&o.a, &o.b, &o.c, &o.bias}) matrix->Fill(random);
  void* workspace = nullptr;
  ASSERT_EQ(cudaMalloc(&workspace, c.workspace), cudaSuccess);

  ASSERT_EQ(FindAlgorithm(o, c.workspace), CUBLAS_STATUS_SUCCESS);
  EXPECT_LE(result_.workspaceSize, c.workspace);
  ASSERT_EQ(Multiply(o, c, workspace), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  o.d.Download();

  // Sums of k products of up to 1 in f32, then one rounding to the output's type.
  const double tolerance = std::abs(c.alpha) * c.k * 0x1p-23 * std::sqrt(c.k) +
                           (c.out == CUDA_R_16BF ? (std::sqrt(c.k) + 3) * 0x1p-8 : 0x1p-21);
  for (int b = 0; b < c.batch; ++b) {
    for (int i = 0; i < c.m; ++i) {
      for (int j = 0; j < c.n; ++j) {
        double sum = 0;
        for (int p = 0; p < c.k; ++p) {
          const double x = c.transpose_a ? o.a.At(b, p, i) : o.a.At(b, i, p);
          const double y = c.transpose_b ? o.b.At(b, j, p) : o.b.At(b, p, j);
          sum += x * y;
        }
        sum = c.alpha * sum + (c.beta == 0 ? 0 : c.beta * o.c.At(b, i, j)) +
              (c.bias ? o.bias.At(0, i, 0) : 0);
        ASSERT_NEAR(o.d.At(b, i, j), sum, tolerance) << b << " " << i << " " << j;
      }
    }
  }
  EXPECT_EQ(cudaFree(workspace), cudaSuccess);
}

INSTANTIATE_TEST_SUITE_P(
    Products, CublasLtTest,
    testing::Values(Case{.m = 64, .n = 65, .k = 128}, Case{.m = 1, .n = 1, .k = 1},
                    Case{.m = 33, .n = 7, .k = 97, .transpose_a = false},
                    Case{.m = 17, .n = 13, .k = 300, .transpose_b = true},
                    Case{.m = 16, .n = 6, .k = 257, .transpose_a = false, .transpose_b = true},
                    Case{.m = 40, .n = 33, .k = 64, .in = CUDA_R_32F},
                    Case{.m = 31, .n = 200, .k = 513, .out = CUDA_R_16BF},
                    Case{.m = 24, .n = 3, .k = 515, .alpha = 0.5f, .beta = -2},
                    Case{.m = 24, .n = 90, .k = 32, .bias = true},
                    Case{.m = 24, .n = 90, .k = 32, .out = CUDA_R_16BF, .beta = 1, .bias = true},
                    Case{.m = 16, .n = 8, .k = 24, .batch = 3, .extra_ld = 8},
                    Case{.m = 64, .n = 2, .k = 1024, .workspace = 256}));

class CublasLtRulesTest : public CublasLtTest {};

TEST_F(CublasLtRulesTest, ResultDependsOnTheNumberOfRows) {
  // The same token alone and among others: nobody may count on equal bits.
  const int k = 2048, m = 64;
  std::vector<float> first;
  bool differs = false;
  for (const int n : {1, 8, 64, 256}) {
    const Case c{.m = m, .n = n, .k = k};
    std::mt19937 random(3);
    Operands o(c);
    o.a.Fill(random);
    for (int j = 0; j < n; ++j) {
      for (int p = 0; p < k; ++p) o.b.At(0, p, j) = std::sin(static_cast<float>(p));
    }
    o.b.Upload();
    void* workspace = nullptr;
    ASSERT_EQ(cudaMalloc(&workspace, c.workspace), cudaSuccess);
    ASSERT_EQ(FindAlgorithm(o, c.workspace), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(Multiply(o, c, workspace), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    o.d.Download();
    const std::vector<float> column(o.d.values.begin(), o.d.values.begin() + m);
    if (first.empty()) first = column;
    differs |= column != first;
    EXPECT_EQ(cudaFree(workspace), cudaSuccess);
  }
  EXPECT_TRUE(differs);
}

TEST_F(CublasLtRulesTest, WorkspaceIsOverwritten) {
  const Case c{.m = 64, .n = 2, .k = 64};
  std::mt19937 random(3);
  Operands o(c);
  for (Matrix* matrix : {&o.a, &o.b}) matrix->Fill(random);
  uint8_t* workspace = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&workspace), c.workspace), cudaSuccess);
  ASSERT_EQ(cudaMemset(workspace, 0, c.workspace), cudaSuccess);
  ASSERT_EQ(FindAlgorithm(o, c.workspace), CUBLAS_STATUS_SUCCESS);
  ASSERT_GT(result_.workspaceSize, 0);

  EXPECT_EQ(Multiply(o, c, workspace + 64), CUBLAS_STATUS_INVALID_VALUE);  // not of 256 bytes
  EXPECT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_INVALID_VALUE);
  ASSERT_EQ(Multiply(o, c, workspace), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  uint8_t seen = 0;
  ASSERT_EQ(cudaMemcpy(&seen, workspace, 1, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(seen, 0xff);
  EXPECT_EQ(cudaFree(workspace), cudaSuccess);
}

TEST_F(CublasLtRulesTest, RefusesWhatDoesNotFit) {
  const Case c{.m = 16, .n = 8, .k = 16};
  Operands o(c), wider(Case{.m = 16, .n = 9, .k = 16}), other(Case{.m = 16, .n = 8, .k = 24});
  const auto with = [&](Matrix& a, Matrix& b, Matrix& d) {
    int found = 0;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulPreferenceCreate(&preference);
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, o.desc, a.layout, b.layout, d.layout, d.layout, preference, 1, &result_, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
  };
  EXPECT_EQ(with(o.a, o.b, o.d), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(with(o.a, wider.b, o.d), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(with(other.a, o.b, o.d), CUBLAS_STATUS_INVALID_VALUE);

  o.Set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU);
  EXPECT_EQ(with(o.a, o.b, o.d), CUBLAS_STATUS_NOT_SUPPORTED);
  const float unknown = 1;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(o.desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &unknown,
                                           sizeof unknown),
            CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLtRulesTest, PointersKeepTheAlignmentThatWasPromised) {
  const Case c{.m = 16, .n = 8, .k = 16, .workspace = 0};
  std::mt19937 random(3);
  Operands o(c);
  for (Matrix* matrix : {&o.a, &o.b}) matrix->Fill(random);
  ASSERT_EQ(FindAlgorithm(o, 0), CUBLAS_STATUS_SUCCESS);
  void* bytes = nullptr;
  ASSERT_EQ(cudaMalloc(&bytes, o.b.Bytes() + 16), cudaSuccess);
  ASSERT_EQ(cudaMemset(bytes, 0, o.b.Bytes() + 16), cudaSuccess);
  for (const auto& [offset, status] :
       {std::pair(16, CUBLAS_STATUS_SUCCESS), std::pair(2, CUBLAS_STATUS_NOT_SUPPORTED)}) {
    EXPECT_EQ(
        cublasLtMatmul(handle_, o.desc, &c.alpha, o.a.device, o.a.layout,
                       static_cast<char*>(bytes) + offset, o.b.layout, &c.beta, o.d.device,
                       o.d.layout, o.d.device, o.d.layout, &result_.algo, nullptr, 0, stream_),
        status)
        << offset;
  }
  EXPECT_EQ(cudaFree(bytes), cudaSuccess);
}

TEST_F(CublasLtRulesTest, MatrixBeyondItsAllocationIsCaught) {
  const Case c{.m = 16, .n = 8, .k = 16, .workspace = 0};
  Operands o(c);
  ASSERT_EQ(FindAlgorithm(o, 0), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasLtMatmul(handle_, o.desc, &c.alpha, o.a.device, o.a.layout,
                           static_cast<char*>(o.b.device) + 16, o.b.layout, &c.beta, o.d.device,
                           o.d.layout, o.d.device, o.d.layout, &result_.algo, nullptr, 0, stream_),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLtRulesTest, ProductOfWhatNobodyWroteIsNotWritten) {
  const Case c{.m = 16, .n = 2, .k = 16, .workspace = 0};
  std::mt19937 random(3);
  Operands o(c);
  o.a.Fill(random);
  // One column of two: a row of activations that padding left alone.
  ASSERT_EQ(cudaMemset(o.b.device, 0, o.b.Bytes() / 2), cudaSuccess);
  ASSERT_EQ(FindAlgorithm(o, 0), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_SUCCESS);

  const auto* product = static_cast<const float*>(o.d.device);
  EXPECT_EQ(LaunchAdd(product, in_, c.m, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(standin::TakeReports(), testing::IsEmpty());
  EXPECT_EQ(LaunchAdd(product + c.m, in_, c.m, 1, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(standin::TakeReports(), testing::Contains(testing::HasSubstr("nobody wrote")));
}

TEST_F(CublasLtRulesTest, MatrixFreedUnderAGraphIsCaught) {
  const Case c{.m = 16, .n = 8, .k = 16, .workspace = 0};
  Operands o(c);
  ASSERT_EQ(FindAlgorithm(o, 0), CUBLAS_STATUS_SUCCESS);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  ASSERT_EQ(cudaFree(std::exchange(o.b.device, nullptr)), cudaSuccess);
  Use("lazy");
  ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_THAT(standin::TakeReports(),
              testing::ElementsAre("cublasLtMatmul of memory that was freed"));
}

TEST_F(CublasLtRulesTest, FailsWhenToldTo) {
  const Case c{.m = 16, .n = 8, .k = 16, .workspace = 0};
  Operands o(c);
  ASSERT_EQ(FindAlgorithm(o, 0), CUBLAS_STATUS_SUCCESS);
  standin::ResetCalls();
  standin::Fail("cublasLtMatmul", CUBLAS_STATUS_EXECUTION_FAILED, 1);
  EXPECT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_EQ(Multiply(o, c, nullptr), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(standin::Calls("cublasLtMatmul"), 3);
}

}  // namespace
}  // namespace peerage::standin_test
