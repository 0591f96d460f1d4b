// Draws the page that cli/tests/page.rs wrote: `make pictures` calls this.
//
//     node picture.mjs FOLDER PAGE OUTPUT
//
// FOLDER holds node_modules. CHROMIUM names the browser, if it is not where Debian has it.
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, file, output] = process.argv.slice(2)
const { chromium } = createRequire(resolve(folder, 'package.json'))('playwright-core')
// Chromium's own sandbox needs rights that containers lack; the page is ours.
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
const page = await browser.newPage({ viewport: { width: 1200, height: 708 } })
await page.goto(pathToFileURL(resolve(file)).href)
await page.waitForSelector('#rows > .row')
// The question that the page answers: the images of one account.
await page.fill('#search', '444455556666')
await page.waitForSelector('#answer h2')
await page.screenshot({ path: output })
await browser.close()
