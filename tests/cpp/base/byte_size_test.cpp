#include "base/byte_size.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "error_text.h"

namespace tritium {
namespace {

std::string refused(std::string_view text) {
  return error_text<MemoryLimitError>([&] { parse_byte_size(text); });
}

TEST(ByteSize, UnitsWithAnIArePowersOf1024AndOthersOf1000) {
  EXPECT_EQ(parse_byte_size("0"), 0u);
  EXPECT_EQ(parse_byte_size("1000"), 1000u);
  EXPECT_EQ(parse_byte_size("7B"), 7u);
  EXPECT_EQ(parse_byte_size("64kB"), 64'000u);
  EXPECT_EQ(parse_byte_size("512MB"), 512'000'000u);
  EXPECT_EQ(parse_byte_size("2GB"), 2'000'000'000u);
  EXPECT_EQ(parse_byte_size("1TB"), 1'000'000'000'000u);
  EXPECT_EQ(parse_byte_size("64KiB"), 64u << 10);
  EXPECT_EQ(parse_byte_size("512MiB"), 512u << 20);
  EXPECT_EQ(parse_byte_size("3GiB"), size_t{3} << 30);
  EXPECT_EQ(parse_byte_size("1TiB"), size_t{1} << 40);
}

TEST(ByteSize, TakesDecimalsSpacesAndAnyCase) {
  EXPECT_EQ(parse_byte_size("1.5GiB"), (size_t{3} << 30) / 2);
  EXPECT_EQ(parse_byte_size("0.3GB"), 300'000'000u);
  EXPECT_EQ(parse_byte_size("0.000001MB"), 1u);
  EXPECT_EQ(parse_byte_size("0.999999TiB"), 1'099'510'528'264u);  // and a part of a byte
  EXPECT_EQ(parse_byte_size(" 16 mib "), 16u << 20);
  EXPECT_EQ(parse_byte_size("1.5"), 1u);
}

TEST(ByteSize, GoesToTheLastByteThatCanBe) {
  EXPECT_EQ(parse_byte_size("18446744073709551615"), SIZE_MAX);
  EXPECT_TRUE(contains(refused("18446744073709551616"), "is too large"));
  EXPECT_EQ(parse_byte_size("16777215.999999TiB"), SIZE_MAX - (size_t{1} << 40) + 1 + 1'099'510'528'264u);
  EXPECT_TRUE(contains(refused("16777216TiB"), "is too large"));
}

TEST(ByteSize, SaysWhatIsWrong) {
  for (const char* text : {"", " ", "MB", "-1MB", "+5", ".5GB", "x"}) {
    EXPECT_TRUE(contains(refused(text), concat("'", text, "' is no size: it does not begin with a number"))) << text;
  }
  EXPECT_TRUE(contains(refused("512 parsecs"), "'parsecs' is no unit; expected a number and B, kB, MB"));
  EXPECT_TRUE(contains(refused("512M"), "'M' is no unit"));
  EXPECT_TRUE(contains(refused("1,5GB"), "',5GB' is no unit"));
  EXPECT_TRUE(contains(refused("1.GB"), "no digit follows the point"));
  EXPECT_TRUE(contains(refused("1.1234567GB"), "more than 6 decimals"));
  EXPECT_TRUE(contains(refused("1e9"), "'e9' is no unit"));
}

}  // namespace
}  // namespace tritium
