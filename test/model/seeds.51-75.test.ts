import { testSeeds } from "./testSeeds.ts"

testSeeds(51, 75)
