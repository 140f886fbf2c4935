#include "model/ternary_weight.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error_text.h"
#include "tiny_model.h"

namespace tritium {
namespace {

TernaryWeight packed_weight(TensorWriter& writer, const std::vector<uint8_t>& bytes, int64_t rows, int64_t columns) {
  writer.add("w", DType::kU8, Encoding::kTernaryStripes, {(rows + 3) / 4, columns}, bytes.data(), bytes.size());
  return {writer.source().get("w"), rows, columns, 1.0f, ScaleDirection::kMultiply, std::nullopt};
}

TernaryWeight master_weight(TensorWriter& writer, const std::vector<float>& values, int64_t rows, int64_t columns) {
  writer.add_floats("w", {rows, columns}, values, Encoding::kTernaryMasters);
  return {writer.source().get("w"), rows, columns, std::nullopt, ScaleDirection::kMultiply, std::nullopt};
}

std::vector<int8_t> trits_of(const TernaryWeight& weight, float scale = 1) {
  std::vector<int8_t> trits(static_cast<size_t>(weight.rows * weight.columns));
  read_trits(weight, scale, 0, weight.rows, trits.data());
  return trits;
}

TEST(TernaryWeight, ReadsThePackingOfTransformers) {
  TensorWriter writer;
  const TernaryWeight weight = packed_weight(writer, {152, 149, 146, 152, 149, 146, 152, 149}, 4, 8);
  EXPECT_EQ(trits_of(weight), (std::vector<int8_t>{-1, 0, 1,  -1, 0, 1,  -1, 0,  //
                                                   1,  0, -1, 1,  0, -1, 1,  0,  //
                                                   0,  0, 0,  0,  0, 0,  0,  0,  //
                                                   1,  1, 1,  1,  1, 1,  1,  1}));
}

TEST(TernaryWeight, ReadsBackWhatWasPackedForRowsThatAreNoMultipleOfFour) {
  for (int64_t rows : {1, 2, 3, 5, 6, 7, 9, 17}) {
    std::vector<int8_t> trits(static_cast<size_t>(rows * 5));
    std::mt19937 random(static_cast<uint32_t>(rows));
    for (int8_t& trit : trits) trit = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
    TensorWriter writer;
    EXPECT_EQ(trits_of(packed_weight(writer, pack_stripes(trits, rows, 5), rows, 5)), trits) << rows << " rows";
  }
}

TEST(TernaryWeight, RefusesCode3WithItsPlace) {
  TensorWriter writer;
  const TernaryWeight weight = packed_weight(writer, {0x55, 0x55, 0x75, 0x55}, 4, 4);
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { trits_of(weight); }), "code 3 at row 2, column 2"));
}

TEST(TernaryWeight, ReadsTritsAndRefusesOtherNumbersWithTheirPlace) {
  const auto weight = [](TensorWriter& writer, const std::vector<int8_t>& trits) -> TernaryWeight {
    writer.add("w", DType::kI8, Encoding::kTernaryTrits, {2, 3}, trits.data(), trits.size());
    return {writer.source().get("w"), 2, 3, 1.0f, ScaleDirection::kMultiply, std::nullopt};
  };
  TensorWriter good;
  const std::vector<int8_t> trits = {-1, 0, 1, 1, 1, -1};
  EXPECT_EQ(trits_of(weight(good, trits)), trits);
  for (int8_t wrong : {int8_t{2}, int8_t{-2}, int8_t{127}, int8_t{-128}}) {
    TensorWriter writer;
    const TernaryWeight bad = weight(writer, {0, 1, -1, 0, wrong, 0});
    EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { trits_of(bad); }),
                         concat("): ", int{wrong}, " at row 1, column 1; ternary weights are -1, 0, 1")));
  }
}

TEST(TernaryWeight, MastersAreTernarisedByTheirMeanMagnitude) {
  TensorWriter writer;
  ThreadPool threads(1);
  // mean |W| = 2; the halves -1 and 1 round to even, that is to 0.
  const TernaryWeight weight = master_weight(writer, {-1, 1, 1.0001f, -1.0001f, 3, -6.9998f}, 2, 3);
  EXPECT_FLOAT_EQ(weight_scale(weight, threads), 14.0f / 6);
  EXPECT_EQ(trits_of(weight, 2.0f), (std::vector<int8_t>{0, 0, 1, -1, 1, -1}));
}

TEST(TernaryWeight, ScaleOfMastersIsTheSameForEveryThreadCount) {
  TensorWriter writer;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(101 * 77);
  for (float& value : values) value = normal(random);
  const TernaryWeight weight = master_weight(writer, values, 101, 77);
  ThreadPool one(1);
  ThreadPool three(3);
  EXPECT_EQ(weight_scale(weight, one), weight_scale(weight, three));
}

TEST(TernaryWeight, ScaleOfZeroMastersIsTheSmallestAllowed) {
  TensorWriter writer;
  ThreadPool threads(1);
  const TernaryWeight weight = master_weight(writer, std::vector<float>(6, 0.0f), 2, 3);
  EXPECT_EQ(weight_scale(weight, threads), 1e-5f);
  EXPECT_EQ(trits_of(weight, 1e-5f), std::vector<int8_t>(6, 0));
}

TEST(TernaryWeight, RefusesMastersThatAreNotFinite) {
  ThreadPool threads(2);
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    TensorWriter writer;
    const TernaryWeight weight = master_weight(writer, {1, 2, 3, bad}, 2, 2);
    EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { weight_scale(weight, threads); }), "row 1"));
  }
}

TEST(TernaryWeight, WidensHalvesAndBfloats) {
  TensorWriter writer;
  const uint16_t halves[] = {0x3c00, 0xc000, 0x0001, 0x8400, 0x7bff, 0x8000};
  const uint16_t bfloats[] = {0x3f80, 0xc000, 0x0001};
  writer.add("half", DType::kF16, Encoding::kPlain, {6}, halves, sizeof halves);
  writer.add("bfloat", DType::kBF16, Encoding::kPlain, {3}, bfloats, sizeof bfloats);
  const TensorSource source = writer.source();
  float values[6];
  read_floats(source.get("half"), 0, 6, values);
  EXPECT_EQ(std::vector<float>(values, values + 6), (std::vector<float>{1, -2, 0x1p-24f, -0x1p-14f, 65504, 0}));
  EXPECT_TRUE(std::signbit(values[5]));
  read_floats(source.get("bfloat"), 1, 2, values);
  EXPECT_EQ(values[0], -2);
  EXPECT_EQ(values[1], 0x1p-133f);
}

}  // namespace
}  // namespace tritium
