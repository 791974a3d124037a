#include "wire/names.hpp"
